"""What datasets are told by comes from training and validation images; test images are asked of, and no more."""

import json
from pathlib import Path

import numpy as np
import pytest
from case import copy
from damage import edited_npy
from finished import DATASETS, EXTERNAL, run_stage

MEANS, TEST = "recognition/means.safetensors", "recognition/test.json"


@pytest.fixture
def project(finished, tmp_path):
    return copy(finished, tmp_path / "project")


def again(project: Path) -> tuple[bytes, dict]:
    """Means and test after another run of the stage."""
    ended = run_stage(project, "recognise")
    assert ended.status == 0, f"{ended.stderr}{ended.traceback}"
    return (project / MEANS).read_bytes(), json.loads((project / TEST).read_text())


def test_another_test_split_changes_what_is_tested_and_nothing_that_is_fitted(project):
    means, tested = (project / MEANS).read_bytes(), json.loads((project / TEST).read_text())
    assert tested["datasets"].keys() == set(DATASETS)
    assert [each["n"] for each in tested["datasets"].values()] == [7, 7, 7]
    assert again(project) == (means, tested)
    for name in DATASETS:
        edited_npy(f"data/cached/test/{name}/test_images.npy", lambda x: np.full_like(x, 255))(project)
    after, retested = again(project)
    assert after == means
    assert retested != tested


@pytest.mark.parametrize("split", ["train", "val"])
def test_other_training_or_validation_images_change_what_is_fitted(project, split):
    before = (project / MEANS).read_bytes()
    edited_npy(f"data/cached/training/breastmnist/{split}_images.npy", lambda x: 255 - x)(project)
    assert again(project)[0] != before


def test_cases_of_an_external_dataset_are_counted_once_each(project):
    record = json.loads((project / f"recognition/external/{EXTERNAL}.json").read_text())
    assert record["n"] == 7 == sum(record["proposed"].values()) + record["none"]
    assert set(record["proposed"]) <= {"retinamnist", "breastmnist"}  # it is of two dimensions
