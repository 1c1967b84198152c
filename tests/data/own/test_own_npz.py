"""npz files of one's own: labels and images in the forms that people's files have."""

import tracemalloc

import numpy as np
import pytest

from mosaic_pipeline.data.own import build as building
from mosaic_pipeline.data.own import npz as reading
from mosaic_pipeline.datasets import SPLITS

COUNTS = {"train": 12, "val": 4, "test": 6}


def labelled(n, classes=2):
    return np.arange(n) % classes


def content(pixels, *shape, dtype=np.uint8, classes=2):
    found = {}
    for seed, (split, n) in enumerate(COUNTS.items()):
        found[f"{split}_images"] = pixels(n, *shape, dtype=dtype, seed=seed)
        found[f"{split}_labels"] = labelled(n, classes)
    return found


@pytest.fixture
def saved(place):
    def save(arrays):
        np.savez(place / "files" / "mine.npz", **arrays)

    return save


def of_npz(declare, **changes):
    return declare(kind="npz", path="files/mine.npz", **changes)


def test_a_file_in_the_official_layout_stays_as_it_is(saved, built, declare, pixels):
    arrays = content(pixels, 8, 8)
    saved(arrays)
    made = built(of_npz(declare))
    for split in SPLITS:
        np.testing.assert_array_equal(made[f"{split}_images"], arrays[f"{split}_images"])
        np.testing.assert_array_equal(made[f"{split}_labels"], arrays[f"{split}_labels"][:, None])
        assert made[f"{split}_labels"].dtype == np.int64
    assert "All have 8 x 8 pixels, as they are kept." in made["notes"]
    assert "Values 0 to 255, all that such files can hold, were kept" in made["notes"]
    assert "Split as given: train 12 images (6 + 6); val 4 images (2 + 2); test 6 images (3 + 3)" in made["notes"]


def one_hot(labels):
    return np.eye(2)[labels]


@pytest.mark.parametrize(
    "form",
    [
        lambda labels: labels[:, None],
        one_hot,
        lambda labels: one_hot(labels).astype(bool),
        lambda labels: labels.astype(np.uint8),
        lambda labels: labels.astype(bool),
        lambda labels: labels.astype(np.float32)[:, None],
        lambda labels: labels.astype(">i4"),
        lambda labels: np.array(["benign", "malignant"])[labels],
        lambda labels: np.array([b"Benign", b" malignant"])[labels],
        lambda labels: labels.astype(str),
    ],
)
def test_labels_of_any_form_are_the_same_labels(saved, built, declare, pixels, form):
    arrays = content(pixels, 8, 8)
    saved(arrays | {f"{split}_labels": form(arrays[f"{split}_labels"]) for split in SPLITS})
    made = built(of_npz(declare))
    for split in SPLITS:
        np.testing.assert_array_equal(made[f"{split}_labels"], arrays[f"{split}_labels"][:, None])


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.float64])
def test_several_labels_are_a_yes_or_no_each(saved, built, declare, pixels, dtype):
    arrays = content(pixels, 8, 8)
    labels = {f"{split}_labels": np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]] * n)[:n] for split, n in COUNTS.items()}
    saved(arrays | {name: array.astype(dtype) for name, array in labels.items()})
    made = built(of_npz(declare, task="multi-label, binary-class", classes=["a", "b", "c"]))
    np.testing.assert_array_equal(made["train_labels"], labels["train_labels"])


@pytest.mark.parametrize(
    ("channels", "form"),
    [
        (1, lambda images: images[..., None]),
        (1, lambda images: images[:, None]),
        (1, lambda images: np.stack([images] * 3, axis=1)),
        (1, lambda images: np.stack([images] * 3, axis=-1)),
        (1, lambda images: np.stack([images] * 3 + [np.full_like(images, 255)], axis=-1)),
        (1, lambda images: images.astype(np.uint16) * 257),
        (1, lambda images: images / 255),
        (1, lambda images: (images / 255).astype(np.float32)),
        (1, lambda images: np.asfortranarray(images)),
        (1, lambda images: (images.astype(np.uint16) * 257).astype(">u2")),
    ],
)
def test_images_of_any_form_are_the_same_images(saved, built, declare, pixels, channels, form):
    arrays = content(pixels, 8, 8)
    saved(arrays | {f"{split}_images": form(arrays[f"{split}_images"]) for split in SPLITS})
    made = built(of_npz(declare))
    for split in SPLITS:
        np.testing.assert_array_equal(made[f"{split}_images"], arrays[f"{split}_images"])


@pytest.mark.parametrize("form", [lambda images: images, lambda images: images.transpose(0, 3, 1, 2)])
def test_colours_may_stand_first_or_last(saved, built, declare, pixels, form):
    arrays = content(pixels, 8, 8, 3)
    saved(arrays | {f"{split}_images": form(arrays[f"{split}_images"]) for split in SPLITS})
    made = built(of_npz(declare, channels=3))
    np.testing.assert_array_equal(made["test_images"], arrays["test_images"])


def test_grey_images_of_a_dataset_in_colour_are_repeated_and_counted(saved, built, declare, pixels):
    arrays = content(pixels, 8, 8)
    saved(arrays)
    made = built(of_npz(declare, channels=3))
    np.testing.assert_array_equal(made["val_images"], np.stack([arrays["val_images"]] * 3, axis=-1))
    assert "Grey, repeated over three channels: all 22." in made["notes"]


def test_volumes_may_have_a_channel(saved, built, declare, pixels):
    arrays = content(pixels, 8, 8, 8)
    saved(arrays | {f"{split}_images": arrays[f"{split}_images"][:, None] for split in SPLITS})
    made = built(of_npz(declare, dimension=3))
    np.testing.assert_array_equal(made["train_images"], arrays["train_images"])


@pytest.mark.parametrize("names", [("x_{}", "y_{}"), ("X_{}", "Y_{}")])
def test_the_names_that_other_tools_use_are_known(saved, built, declare, pixels, names):
    arrays, spelled = content(pixels, 8, 8), {"train": "train", "val": "valid", "test": "test"}
    renamed = {names[0].format(spelled[split]): arrays[f"{split}_images"] for split in SPLITS}
    saved(renamed | {names[1].format(spelled[split]): arrays[f"{split}_labels"] for split in SPLITS})
    np.testing.assert_array_equal(built(of_npz(declare))["val_images"], arrays["val_images"])


def test_arrays_that_are_not_used_are_named(saved, built, declare, pixels):
    saved(content(pixels, 8, 8) | {"train_ages": np.arange(12), "about": np.array("x")})
    assert "Arrays that were not used: about, train_ages." in built(of_npz(declare))["notes"]


def test_images_without_a_split_get_one_by_patient(saved, built, declare, pixels):
    patients = np.repeat(np.arange(10), 4)
    images = pixels(40, 8, 8)
    saved({"images": images, "labels": labelled(40), "patients": patients})
    made = built(of_npz(declare))
    of_patient = {}
    for split in SPLITS:
        for image in made[f"{split}_images"]:
            row = int(np.flatnonzero((images == image).all(axis=(1, 2)))[0])
            of_patient.setdefault(patients[row], set()).add(split)
    assert len(of_patient) == 10
    assert all(len(splits) == 1 for splits in of_patient.values())
    numbers = [made[f"{split}_patients"].tolist() for split in SPLITS]
    assert sorted(np.concatenate([made[f"{split}_patients"] for split in SPLITS])) == patients.tolist()
    assert all(len(set(part)) * 4 == len(part) for part in numbers)
    assert "Split drawn by patient, alike in all classes (seed 0): train" in made["notes"]
    assert "train 28 images of 7 patients (14 + 14)" in made["notes"]


def test_many_classes_are_counted_from_the_smallest_to_the_largest(saved, built, declare, pixels):
    saved({"images": pixels(200, 8, 8), "labels": np.arange(200) % 20})
    made = built(of_npz(declare, task="multi-class", classes=[f"c{index}" for index in range(20)]))
    assert "train 140 images (7 to 7); val 20 images (1 to 1); test 40 images (2 to 2), by class." in made["notes"]


def test_training_lends_validation_where_there_is_none(saved, built, declare, pixels):
    arrays = content(pixels, 8, 8)
    saved({name: array for name, array in arrays.items() if not name.startswith("val")})
    made = built(of_npz(declare))
    np.testing.assert_array_equal(made["test_images"], arrays["test_images"])
    assert len(made["train_images"]), len(made["val_images"]) == (10, 2)
    assert "Test split as given; validation drawn from training" in made["notes"]


def test_memory_stays_at_a_few_images_however_many_there_are(saved, declare, pixels, place, monkeypatch):
    saved({"images": pixels(300, 200, 200), "labels": labelled(300)})  # 12 MB
    monkeypatch.setattr(reading, "BLOCK_BYTES", 1 << 18)
    monkeypatch.setattr(building, "BLOCK_BYTES", 1 << 18)
    tracemalloc.start()
    building.write_own(place / "raw" / "mine.npz", "mine", of_npz(declare, size=200), 200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000
