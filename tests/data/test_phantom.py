"""Phantoms: the official layout, the same bytes everywhere, and classes that can be told apart, though not always."""

import hashlib
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mosaic_pipeline.data import phantom
from mosaic_pipeline.data.npz import check_npz
from mosaic_pipeline.data.phantom import generate, write_phantom
from mosaic_pipeline.datasets import MEDMNIST, SPLITS

FEW = {"train": 4, "val": 2, "test": 3}
all_datasets = pytest.mark.parametrize("dataset", MEDMNIST.values(), ids=MEDMNIST)


def labels_of(name, count, split="train"):
    """Labels [N,L] of one split; images of 2 px keep it fast."""
    return generate(MEDMNIST[name], 2, {**FEW, split: count})[f"{split}_labels"].astype(int)


@pytest.mark.parametrize("name", ["pathmnist", "chestmnist", "vesselmnist3d"])
def test_two_runs_write_the_same_bytes(tmp_path, name):
    for run in ("first", "second"):
        write_phantom(tmp_path / run / "phantom.npz", MEDMNIST[name], 28, FEW)
    assert (tmp_path / "first/phantom.npz").read_bytes() == (tmp_path / "second/phantom.npz").read_bytes()


def test_a_file_says_nothing_of_when_and_where_it_was_written(tmp_path, monkeypatch):
    # What zipfile would take from the clock and the system.
    for year, system in ((2001, "linux"), (2021, "win32")):
        monkeypatch.setattr("time.time", lambda year=year: (year - 1970) * 31_556_952.0)
        monkeypatch.setattr("sys.platform", system)
        write_phantom(tmp_path / f"{system}.npz", MEDMNIST["breastmnist"], 28, FEW)
    assert (tmp_path / "linux.npz").read_bytes() == (tmp_path / "win32.npz").read_bytes()


def test_pixels_are_the_same_on_every_machine():
    # Measured once, and again without the processor's AVX2 and AVX-512; a change of looks changes it.
    digest = hashlib.sha256()
    for dataset in MEDMNIST.values():
        for array in generate(dataset, 28, {"train": 16, "val": 3, "test": 5}).values():
            digest.update(array.tobytes())
    assert digest.hexdigest() == "20164ca811ea71d92c6c7edccbf97043e36a060869550bd26cab2a6386ef529e"


def test_every_split_and_every_dataset_has_a_random_stream_of_its_own(monkeypatch):
    twin = "twin"
    monkeypatch.setitem(phantom._CLASSES, twin, phantom._CLASSES["breastmnist"])
    monkeypatch.setitem(phantom._STAGES, twin, phantom._STAGES["breastmnist"])
    dataset = MEDMNIST["breastmnist"]
    same_looks = type(dataset)(**{**vars(dataset), "name": twin})

    arrays, others = (generate(d, 28, dict.fromkeys(SPLITS, 3)) for d in (dataset, same_looks))
    images = [image.tobytes() for found in (arrays, others) for split in SPLITS for image in found[f"{split}_images"]]
    assert len(set(images)) == 18


@pytest.mark.parametrize("name", ["octmnist", "chestmnist"])
def test_an_image_depends_neither_on_the_counts_nor_on_other_splits(name):
    few = generate(MEDMNIST[name], 28, {"train": 5, "val": 2, "test": 4})
    more = generate(MEDMNIST[name], 28, {"train": 9, "val": 1, "test": 4})
    np.testing.assert_array_equal(few["train_images"], more["train_images"][:5])
    np.testing.assert_array_equal(few["train_labels"], more["train_labels"][:5])
    np.testing.assert_array_equal(few["test_images"], more["test_images"])


@pytest.mark.parametrize("name", ["bloodmnist", "adrenalmnist3d"])
def test_a_larger_size_shows_the_same_scene(name):
    dataset = MEDMNIST[name]
    small, large = (generate(dataset, size, FEW)["train_images"].astype(float) for size in (14, 28))
    for axis in range(1, 1 + dataset.dimension):
        large = (large.take(range(0, 28, 2), axis) + large.take(range(1, 28, 2), axis)) / 2
    assert np.abs(small - large).mean() < 20
    assert np.abs(small - np.roll(large, 1, axis=0)).mean() > 25


@all_datasets
def test_a_file_is_in_the_official_layout(tmp_path, dataset):
    write_phantom(tmp_path / "phantom.npz", dataset, 28, FEW)
    assert check_npz(tmp_path / "phantom.npz", dataset, 28) == FEW
    with np.load(tmp_path / "phantom.npz", allow_pickle=False) as npz:
        assert npz.files == [f"{split}_{what}" for split in SPLITS for what in ("images", "labels")]
        assert {npz[key].dtype for key in npz.files} == {np.dtype(np.uint8)}


@pytest.mark.parametrize("name", ["retinamnist", "breastmnist", "adrenalmnist3d"])
def test_arrays_are_like_those_of_the_official_file(name):
    folder = os.environ.get("MOSAIC_REAL_DATA")
    if not folder:
        pytest.skip("MOSAIC_REAL_DATA names no folder with official files")
    arrays = generate(MEDMNIST[name], 28, FEW)
    with np.load(Path(folder) / f"{name}.npz", allow_pickle=False) as official:
        assert set(arrays) == set(official.files)
        for key, array in arrays.items():
            assert (array.dtype, array.shape[1:]) == (official[key].dtype, official[key].shape[1:])


@all_datasets
def test_every_class_is_in_every_split_as_soon_as_counts_allow(dataset):
    arrays = generate(dataset, 2, dict.fromkeys(SPLITS, dataset.num_classes))
    for split in SPLITS:
        labels = arrays[f"{split}_labels"]
        present = labels.any(axis=0).sum() if dataset.multi_label else len(np.unique(labels))
        assert present == dataset.num_classes


@pytest.mark.parametrize(
    ("name", "percent"),
    [
        ("dermamnist", [5, 8, 13, 5, 13, 50, 6]),
        ("retinamnist", [45, 12, 19, 18, 6]),
        ("pneumoniamnist", [26, 74]),
        ("vesselmnist3d", [89, 11]),
    ],
)
def test_classes_are_as_imbalanced_as_in_the_original(name, percent):
    for split in SPLITS:
        assert np.bincount(labels_of(name, 100, split)[:, 0]).tolist() == percent


def test_chest_findings_differ_in_prevalence_and_are_independent():
    labels = labels_of("chestmnist", 2000)
    prevalence = labels.mean(axis=0)
    effusion, infiltration, hernia = 2, 3, 13
    assert prevalence[infiltration] == prevalence.max() == pytest.approx(0.35, abs=0.03)
    assert prevalence[effusion] == pytest.approx(0.24, abs=0.03)
    assert prevalence[hernia] == prevalence.min() == pytest.approx(0.06, abs=0.02)
    correlation = np.corrcoef(labels.T) - np.eye(14)
    assert np.abs(correlation).max() < 0.1
    assert {0, 1, 2, 3} <= set(labels.sum(axis=1))


def test_retina_darkens_with_the_grade_and_neighbours_overlap():
    arrays = generate(MEDMNIST["retinamnist"], 28, {**FEW, "train": 200})
    redness = arrays["train_images"][..., 0].mean(axis=(1, 2))
    by_grade = [redness[arrays["train_labels"][:, 0] == grade] for grade in range(5)]
    means = [found.mean() for found in by_grade]
    assert means == sorted(means, reverse=True)
    for lower, higher in pairwise(by_grade):
        assert lower.min() < higher.max()


@pytest.mark.parametrize(
    "name", ["pathmnist", "dermamnist", "octmnist", "organamnist", "organmnist3d", "nodulemnist3d"]
)
def test_classes_can_be_told_apart_but_not_always(name):
    dataset = MEDMNIST[name]
    arrays = generate(dataset, 8, {"train": 300, "val": 1, "test": 150})
    train, test = (arrays[f"{split}_images"].reshape(len(arrays[f"{split}_images"]), -1) for split in ("train", "test"))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500, class_weight="balanced"))
    classifier.fit(train, arrays["train_labels"][:, 0])
    accuracy = balanced_accuracy_score(arrays["test_labels"], classifier.predict(test))
    chance = 1 / dataset.num_classes
    assert chance + 0.3 * (1 - chance) < accuracy < 0.97


def test_generating_needs_nothing_heavier_than_numpy():
    # One process for each dataset imports it.
    script = "import sys, mosaic_pipeline.data.phantom; print(*{name.partition('.')[0] for name in sys.modules})"
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert "numpy" in found.stdout.split()
    assert not {"torch", "timm", "sklearn", "pandas", "medmnist", "mlflow", "pydantic"} & set(found.stdout.split())
