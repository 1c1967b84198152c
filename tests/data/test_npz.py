"""The official file layout: what is accepted, what is refused and in which words."""

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mosaic_pipeline.data import npz
from mosaic_pipeline.data.npz import check_npz, read_image_blocks, read_labels
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.errors import PipelineError

BREAST, CHEST = MEDMNIST["breastmnist"], MEDMNIST["chestmnist"]
COUNTS = {"train": 6, "val": 2, "test": 3}


def arrays(dataset, counts=COUNTS):
    rng = np.random.default_rng(0)
    made = {}
    for split, count in counts.items():
        made[f"{split}_images"] = rng.integers(0, 256, (count, *dataset.image_shape(28)), dtype=np.uint8)
        made[f"{split}_labels"] = rng.integers(0, 2, (count, dataset.label_columns), dtype=np.uint8)
    return made


@pytest.fixture
def write(tmp_path):
    def write(content):
        np.savez_compressed(tmp_path / "file.npz", **content)
        return tmp_path / "file.npz"

    return write


@pytest.mark.parametrize("name", ["pathmnist", "chestmnist", "breastmnist", "retinamnist", "adrenalmnist3d"])
def test_a_file_in_the_official_layout_is_accepted_and_counted(write, name):
    assert check_npz(write(arrays(MEDMNIST[name])), MEDMNIST[name], 28) == COUNTS


BAD = {
    "val_labels is missing": (BREAST, lambda a: a.pop("val_labels"), "there is no val_labels"),
    "float images": (BREAST, {"test_images": lambda a: a / 255}, "test_images is float64 [3,28,28]"),
    "another resolution": (BREAST, {"val_images": lambda a: a[:, :14]}, "val_images is uint8 [2,14,28]"),
    "three channels": (BREAST, {"val_images": lambda a: np.stack([a] * 3, -1)}, "val_images is uint8 [2,28,28,3]"),
    "Fortran order": (BREAST, {"train_images": np.asfortranarray}, "train_images is uint8 [6,28,28] in Fortran order"),
    "a scalar": (BREAST, {"train_images": lambda a: a[0, 0, 0]}, "train_images is uint8 []"),
    "no images": (BREAST, {"val_images": lambda a: a[:0], "val_labels": lambda a: a[:0]}, "val_images is empty"),
    "flat labels": (BREAST, {"train_labels": lambda a: a[:, 0]}, "train_labels is uint8 [6]"),
    "float labels": (BREAST, {"train_labels": lambda a: a.astype(float)}, "train_labels is float64 [6,1]"),
    "yes/no labels": (BREAST, {"train_labels": lambda a: a.astype(bool)}, "train_labels is bool [6,1]"),
    "a label short": (BREAST, {"test_labels": lambda a: a[1:]}, "test_labels has 2 rows for 3 images"),
    "a class too many": (BREAST, {"val_labels": lambda a: a * 0 + 2}, "val_labels has values from 2 to 2"),
    "a negative label": (BREAST, {"val_labels": lambda a: a * 0 - np.int8(1)}, "val_labels has values from -1 to -1"),
    "too few columns": (CHEST, {"val_labels": lambda a: a[:, :13]}, "val_labels is uint8 [2,13]"),
    "multi-label above 1": (CHEST, {"val_labels": lambda a: a * 0 + 13}, "val_labels has values from 13 to 13"),
}


@pytest.mark.parametrize(("dataset", "change", "message"), BAD.values(), ids=BAD)
def test_a_file_in_another_layout_is_refused_in_one_line_that_names_file_and_array(write, dataset, change, message):
    content = arrays(dataset)
    if callable(change):
        change(content)
    else:
        content |= {key: edit(content[key]) for key, edit in change.items()}
    path = write(content)
    with pytest.raises(PipelineError) as error:
        check_npz(path, dataset, 28)
    assert str(error.value).startswith(f"{path}: {message}; {dataset.name} at 28 has images uint8 [N,28,28]")
    assert "\n" not in str(error.value)


def test_pickled_arrays_are_refused_and_never_loaded(write):
    content = arrays(BREAST)
    content["val_labels"] = np.array([[print], [print]], dtype=object)
    with pytest.raises(PipelineError, match=r"val_labels is object \[2,1\]"):
        check_npz(write(content), BREAST, 28)


def test_images_shorter_than_their_header_says_are_refused(write):
    path = write(arrays(BREAST))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["val_images.npy"] = members["val_images.npy"][:-1]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(PipelineError, match="val_images holds 1567 bytes where its header says 1568"):
        check_npz(path, BREAST, 28)


@pytest.mark.parametrize(
    "content", [b"", b"<html>503</html>", b"PK\x03\x04 a zip that ends"], ids=["empty", "html", "cut"]
)
def test_what_is_no_npz_is_refused_in_one_line_that_names_the_origin(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(PipelineError, match=r"^http://here/x\.npz: not an intact npz file \(.*\); .*fetched again$"):
        check_npz(tmp_path / "x.npz", BREAST, 28, origin="http://here/x.npz")


def test_a_missing_file_says_which_stage_makes_it():
    for folder, stage in (("data/raw", "download"), ("data/external/raw", "download_external")):
        with pytest.raises(PipelineError, match=f"no such file; `dvc repro {stage}` fetches it"):
            check_npz(Path(folder) / "x.npz", BREAST, 28)


def test_blocks_put_together_are_the_array(write, monkeypatch):
    content = arrays(BREAST)
    path = write(content)
    monkeypatch.setattr(npz, "BLOCK_BYTES", 4 * 28 * 28 + 1)
    blocks = list(read_image_blocks(path, "train"))
    assert [len(block) for block in blocks] == [4, 2]
    np.testing.assert_array_equal(np.concatenate(blocks), content["train_images"])


def test_an_image_larger_than_a_block_is_still_read(write, monkeypatch):
    monkeypatch.setattr(npz, "BLOCK_BYTES", 1)
    assert [len(block) for block in read_image_blocks(write(arrays(BREAST)), "val")] == [1, 1]


def test_damaged_image_bytes_are_an_error_when_read(write):
    path = write(arrays(BREAST))
    damaged = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("train_images.npy")
    damaged[info.header_offset + info.compress_size // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(PipelineError, match="not an intact npz file"):
        list(read_image_blocks(path, "train"))


def test_labels_are_read_as_int64_in_c_order(write):
    content = arrays(CHEST)
    content["train_labels"] = np.asfortranarray(content["train_labels"])
    labels = read_labels(write(content), "train")
    assert labels.dtype == np.int64
    assert labels.flags.c_contiguous
    np.testing.assert_array_equal(labels, content["train_labels"])


def test_checking_a_file_does_not_load_its_images(write):
    images = {f"{split}_images": np.zeros((20_000, 28, 28), np.uint8) for split in COUNTS}  # 16 MB each
    labels = {f"{split}_labels": np.zeros((20_000, 1), np.uint8) for split in COUNTS}
    path = write(images | labels)
    tracemalloc.start()
    check_npz(path, BREAST, 28)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
