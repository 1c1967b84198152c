"""The data stages as commands: light to start, one line in the end."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from ruamel.yaml import YAML

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import RAW, TRAINING_DATA
from mosaic_pipeline.params import PARAMS_FILE
from stages import cache, declare, download

HEAVY = {"torch", "torchvision", "timm", "medmnist", "mlflow", "dvc", "pandas", "matplotlib", "pooch", "requests"}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A repository with params.yaml only, and a mirror folder with one small file of its own."""
    dataset, rng = MEDMNIST["breastmnist"], np.random.default_rng(0)
    (tmp_path / "mirror").mkdir()
    content = {}
    for split, count in {"train": 6, "val": 2, "test": 3}.items():
        content[f"{split}_images"] = rng.integers(0, 256, (count, *dataset.image_shape(28)), dtype=np.uint8)
        content[f"{split}_labels"] = rng.integers(0, 2, (count, 1), dtype=np.uint8)
    np.savez_compressed(tmp_path / "mirror" / "breastmnist.npz", **content)

    shutil.copy(PARAMS_FILE, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    params = YAML().load(PARAMS_FILE)
    params["data"] |= {"source": "mirror", "mirror": "mirror", "verify": False, "size_2d": 28, "train_limit": 4}
    YAML().dump(params, PARAMS_FILE)
    return tmp_path


def run(stage, dataset, monkeypatch):
    for each, arguments in ((declare, []), (stage, [dataset])):
        monkeypatch.setattr(sys, "argv", ["stage", *arguments])
        each.main()


def test_download_then_cache_leave_the_arrays_and_a_line_each(workspace, monkeypatch, capsys):
    run(download, "breastmnist", monkeypatch)
    run(cache, "breastmnist", monkeypatch)
    said = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("declared: ")]
    assert said == [
        "data/raw/breastmnist.npz: 6 train, 2 val, 3 test images of 28x28 from mirror, "
        "not compared with the official md5",
        "breastmnist: 4 of 6 train, 2 of 2 val, 3 of 3 test images at 28 from mirror, not an official file",
    ]
    assert (RAW / "breastmnist.npz").is_file()
    assert len(np.load(TRAINING_DATA / "breastmnist" / "train_images.npy")) == 4


@pytest.mark.parametrize("stage", [download, cache])
def test_an_unknown_dataset_is_an_error_with_a_suggestion(workspace, monkeypatch, stage):
    with pytest.raises(PipelineError, match=r"^breastmnst: no such dataset is declared; did you mean breastmnist\?$"):
        run(stage, "breastmnst", monkeypatch)


@pytest.mark.parametrize("stage", ["download", "cache"])
def test_starting_a_data_stage_imports_nothing_heavy(stage):
    code = f"import sys, stages.{stage}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
