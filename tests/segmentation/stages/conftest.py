"""MLflow, without its store."""

from contextlib import contextmanager

import pytest


class Logged:
    """A run that keeps what it is given."""

    def __init__(self):
        self.metrics, self.datasets = {}, []

    def log_metrics(self, metrics, step=None, dataset=None):
        self.metrics |= metrics

    def log_dataset(self, name, source, digest, context):
        self.datasets.append((name, context))


@pytest.fixture
def logged(monkeypatch):
    """In the place of MLflow, which takes seconds to set up a store."""
    logged = Logged()

    @contextmanager
    def tracked_run(*_arguments, **_options):
        yield logged

    monkeypatch.setattr("mosaic_pipeline.tracking.tracked_run", tracked_run)
    return logged
