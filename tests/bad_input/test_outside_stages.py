"""The stages of corrupted images and of external datasets give each part of their work the files it is meant for."""

import json
from pathlib import Path

import numpy as np
import pytest
from case import contents, copy
from finished import CORRUPTION, DATASETS, EXTERNAL, run_stage

from mosaic_pipeline.evaluation import robustness, transfer


@pytest.fixture
def project(finished, tmp_path):
    return copy(finished, tmp_path / "project")


def stored(project: Path, folder: str, split: str, kind: str) -> np.ndarray:
    return np.load(project / folder / f"{split}_{kind}.npy")


def test_transfer_fits_chooses_and_tests_on_the_external_datasets_own_splits(project, monkeypatch):
    given = []
    run = transfer.run_transfer

    def watched(model, splits, dataset, way, **how):
        given.append({name: (np.array(split.images), split.labels.numpy()) for name, split in splits.items()})
        return run(model, splits, dataset, way, **how)

    monkeypatch.setattr(transfer, "run_transfer", watched)
    ended = run_stage(project, f"transfer mosaic 42 {EXTERNAL}")
    assert ended.status == 0, ended.stderr
    assert len(given) == 4  # the backbone and three specialists
    for splits in given:
        for split, part in (("train", "training"), ("val", "training"), ("test", "test")):
            for array, kind in zip(splits[split], ("images", "labels"), strict=True):
                wanted = stored(project, f"data/external/cached/{part}/{EXTERNAL}", split, kind)
                assert np.array_equal(array, wanted), f"{split} {kind}"
    file = project / f"evaluation/mosaic/42/transfer/{EXTERNAL}.json"
    with np.load(file.with_suffix(".npz")) as arrays:
        assert np.array_equal(
            arrays["labels"], stored(project, f"data/external/cached/test/{EXTERNAL}", "test", "labels")
        )
    heads = json.loads(file.read_text(encoding="utf-8"))["heads"]
    assert [head["specialist"] for head in heads] == [None, "A", "B", "C"]


def test_corrupt_tests_every_dataset_on_its_test_split_at_each_strength(project, monkeypatch):
    given = {}
    run = robustness.run_corrupted

    def watched(model, split, dataset, kind, *, strengths, **how):
        strengths = list(strengths)
        given[dataset.name] = (np.array(split.images), split.labels.numpy(), kind, strengths)
        return run(model, split, dataset, kind, strengths=strengths, **how)

    monkeypatch.setattr(robustness, "run_corrupted", watched)
    ended = run_stage(project, f"corrupt mosaic 42 {CORRUPTION}")
    assert ended.status == 0, ended.stderr
    assert sorted(given) == sorted(DATASETS)
    for name, (images, labels, kind, strengths) in given.items():
        assert np.array_equal(images, stored(project, f"data/cached/test/{name}", "test", "images"))
        assert np.array_equal(labels, stored(project, f"data/cached/test/{name}", "test", "labels"))
        assert (kind, strengths) == (CORRUPTION, [1, 2, 3, 4, 5])


def test_what_the_external_stages_make_is_what_those_of_trained_datasets_make_beside_them(project):
    """The very modules, other folders: the same npz and arrays as if the dataset were trained on."""
    for command in (f"download_external {EXTERNAL}", f"cache_external {EXTERNAL}"):
        before = contents(project / "data/external")
        assert run_stage(project, command).status == 0
        assert contents(project / "data/external") == before
    with np.load(project / f"data/external/raw/{EXTERNAL}.npz") as raw:
        for split, part in (("train", "training"), ("val", "training"), ("test", "test")):
            found = stored(project, f"data/external/cached/{part}/{EXTERNAL}", split, "images")
            assert np.array_equal(found, raw[f"{split}_images"])
    assert not (project / "data/raw" / f"{EXTERNAL}.npz").exists()
    assert not (project / "data/cached/training" / EXTERNAL).exists()
