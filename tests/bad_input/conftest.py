"""The finished project that every case gets a copy of."""

from pathlib import Path

import pytest
from finished import finish


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every stage has run once; only read."""
    return finish(tmp_path_factory.mktemp("finished") / "project")
