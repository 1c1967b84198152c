"""MLflow, without its store."""

from contextlib import contextmanager

import pytest


class Logged:
    """A run that keeps what it is given."""

    def __init__(self):
        self.metrics, self.datasets, self.lines, self.means = {}, [], {}, {}

    def log_metrics(self, metrics, step=None, dataset=None):
        self.metrics |= metrics

    def describe(self, label, text):
        self.lines[label] = text

    def tell_trainings(self, md5, means, line):
        self.means[md5] = (means, line)


@pytest.fixture
def logged(monkeypatch):
    """In the place of MLflow, which takes seconds to set up a store."""
    logged = Logged()

    @contextmanager
    def tracked_run(*_arguments, inputs, **_options):
        logged.datasets += [(name, inputs.use) for name in inputs.digests]
        yield logged

    monkeypatch.setattr("mosaic_pipeline.tracking.tracked_run", tracked_run)
    return logged
