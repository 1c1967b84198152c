"""A workplace that tests of stages may change: prepared once, copied for each."""

import shutil

import pytest

from tests.segmentation.workplace import VARIANTS, prepare, write_model


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Phantoms, index, cache, configurations, and a model of each variant."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for variable in ("DVC_ROOT", "DVC_STAGE"):
            patch.delenv(variable, raising=False)
        prepare()
        for variant in VARIANTS:
            write_model(variant)
    return folder


@pytest.fixture
def workplace(prepared, tmp_path, monkeypatch):
    """A copy of its own, which is the working directory."""
    folder = tmp_path / "workplace"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    for variable in ("DVC_ROOT", "DVC_STAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    return folder
