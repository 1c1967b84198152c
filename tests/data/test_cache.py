"""The cache: what is in it, that it is whole, the same bytes each time, and built in little memory."""

import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mosaic_pipeline.data import cache, npz, official
from mosaic_pipeline.data.cache import build_cache
from mosaic_pipeline.data.sources import fetch
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import TEST_DATA, TRAINING_DATA
from mosaic_pipeline.lineage import data_digest, read_origin
from mosaic_pipeline.params import Data

COUNTS = {"train": 40, "val": 8, "test": 10}


def data_params(**changes):
    defaults = {
        "source": "mirror",
        "mirror": "unused",
        "verify": True,
        "allow_leakage": False,
        "size_2d": 28,
        "size_3d": 28,
    }
    limits = {"train_limit": None, "eval_limit": None, "datasets": ["breastmnist"]}
    limits |= {"external": [], "corruptions": [], "own": {}}
    return Data(**defaults | limits | changes)


def write_npz(path, dataset, counts=COUNTS):
    rng = np.random.default_rng(0)
    content = {}
    for split, count in counts.items():
        content[f"{split}_images"] = rng.integers(0, 256, (count, *dataset.image_shape(28)), dtype=np.uint8)
        highest = 1 if dataset.multi_label else dataset.num_classes - 1
        content[f"{split}_labels"] = rng.integers(0, highest + 1, (count, dataset.label_columns), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **content)
    return content


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "raw" / "breastmnist.npz"
    write_npz(path, MEDMNIST["breastmnist"])
    return path


def build(raw, folder, dataset=MEDMNIST["breastmnist"], **changes):
    """Build both parts under `folder` and return what their meta.json say."""
    return build_cache(
        raw, folder / "training", folder / "test", dataset, official.about(dataset), data_params(**changes)
    )


def load(folder, split, kind):
    part = "test" if split == "test" else "training"
    return np.load(folder / part / f"{split}_{kind}.npy", mmap_mode="r", allow_pickle=False)


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["breastmnist", "retinamnist", "chestmnist", "adrenalmnist3d"])
def test_the_arrays_are_those_of_the_file_and_can_be_memory_mapped(tmp_path, name):
    content = write_npz(tmp_path / "raw.npz", MEDMNIST[name])
    build(tmp_path / "raw.npz", tmp_path / "cached", MEDMNIST[name])
    for split, count in COUNTS.items():
        images, labels = (load(tmp_path / "cached", split, kind) for kind in ("images", "labels"))
        assert (images.dtype, images.shape) == (np.uint8, (count, *MEDMNIST[name].image_shape(28)))
        assert (labels.dtype, labels.shape) == (np.int64, (count, MEDMNIST[name].label_columns))
        assert images.flags.c_contiguous
        assert labels.flags.c_contiguous
        np.testing.assert_array_equal(images, content[f"{split}_images"])
        np.testing.assert_array_equal(labels, content[f"{split}_labels"])


def test_the_arrays_are_byte_for_byte_what_numpy_would_save(tmp_path, raw):
    build(raw, tmp_path)
    with np.load(raw) as content:
        np.save(tmp_path / "expected.npy", content["train_images"])
    assert (tmp_path / "training" / "train_images.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


def test_each_meta_says_what_lies_beside_it_and_where_it_came_from(tmp_path, raw):
    metas = build(raw, tmp_path, train_limit=20, eval_limit=9)
    counts = {"train": {"n": 20, "of": 40}, "val": {"n": 8, "of": 8}, "test": {"n": 9, "of": 10}}
    for part, meta, splits in zip(("training", "test"), metas, (("train", "val"), ("test",)), strict=True):
        assert json.loads((tmp_path / part / "meta.json").read_text()) == meta
        expected = {"dataset": "breastmnist", "source": "mirror", "size": 28, "findings": []}
        expected["form"] = MEDMNIST["breastmnist"].form()
        expected["splits"] = {
            split: counts[split]
            | {"md5": {kind: md5_file(tmp_path / part / f"{split}_{kind}.npy") for kind in ("labels", "images")}}
            for split in splits
        }
        if part == "test":
            expected |= {"official": False, "raw_md5": md5_file(raw), "title": "BreastMNIST", "specialist": "B"}
            expected |= {"class_names": ["malignant", "normal, benign"], "licence": "CC BY 4.0", "notes": []}
        assert meta == expected


def test_both_parts_are_known_as_one_to_whoever_gets_the_results(tmp_path, raw, monkeypatch):
    with np.load(raw) as file:
        content = dict(file)
    content["train_images"][1] = content["train_images"][0]
    content["test_images"][1] = content["test_images"][0]
    np.savez(raw, **content)
    monkeypatch.chdir(tmp_path)
    dataset = MEDMNIST["breastmnist"]
    training, test = build_cache(
        raw, TRAINING_DATA / "breastmnist", TEST_DATA / "breastmnist", dataset, official.about(dataset), data_params()
    )
    origin = read_origin("breastmnist")
    assert list(origin["splits"]) == ["train", "val", "test"]
    assert origin["splits"]["train"] == training["splits"]["train"]
    assert origin["findings"] == [{"kind": "repeated", "split": split, "images": 1} for split in ("train", "test")]
    assert (origin["raw_md5"], origin["source"], origin["class_names"]) == (
        test["raw_md5"],
        "mirror",
        ["malignant", "normal, benign"],
    )


def test_another_test_split_leaves_every_byte_that_training_reads(tmp_path, raw):
    build(raw, tmp_path / "one")
    with np.load(raw) as file:
        content = dict(file)
    for kind in ("images", "labels"):
        content[f"test_{kind}"] = content[f"test_{kind}"][::-1][:7]
    np.savez_compressed(raw, **content)
    build(raw, tmp_path / "two")
    assert tree(tmp_path / "one" / "training") == tree(tmp_path / "two" / "training")
    before, after = tree(tmp_path / "one" / "test"), tree(tmp_path / "two" / "test")
    assert [name for name in before if before[name] == after[name]] == []


def test_another_training_image_is_another_digest_of_what_training_reads_and_of_nothing_else(tmp_path, raw):
    build(raw, tmp_path / "one")
    with np.load(raw) as file:
        content = dict(file)
    content["val_images"][3, 5, 5] ^= 1
    np.savez_compressed(raw, **content)
    build(raw, tmp_path / "two")
    before, after = tree(tmp_path / "one"), tree(tmp_path / "two")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"training/val_images.npy", "training/meta.json", "test/meta.json"}  # the last has the file's md5
    parts = [(tmp_path / which / "training").rename(tmp_path / which / "breastmnist") for which in ("one", "two")]
    first, second = map(data_digest, parts)
    assert first != second


def test_a_file_with_the_published_md5_is_called_official(tmp_path, raw, monkeypatch):
    md5 = md5_file(raw)
    monkeypatch.setattr(official, "published", lambda dataset, size: official.Published("", md5))
    assert build(raw, tmp_path)[1]["official"] is True


@pytest.mark.parametrize("block_bytes", [16 << 20, 3 * 28 * 28, 1], ids=["one block", "three images", "one image"])
def test_a_limited_split_holds_the_subset_with_images_and_labels_in_step(tmp_path, raw, monkeypatch, block_bytes):
    monkeypatch.setattr(npz, "BLOCK_BYTES", block_bytes)
    build(raw, tmp_path, train_limit=12)
    with np.load(raw) as content:
        rows = cache.stratified_subset(content["train_labels"], 12)
        images, labels = content["train_images"][rows], content["train_labels"][rows]
    np.testing.assert_array_equal(load(tmp_path, "train", "images"), images)
    np.testing.assert_array_equal(load(tmp_path, "train", "labels"), labels)


def test_two_builds_write_the_same_bytes(tmp_path, raw):
    for name in ("one", "two"):
        build(raw, tmp_path / name, train_limit=12)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert len(tree(tmp_path / "one")) == 8


def test_another_limit_writes_other_bytes(tmp_path, raw):
    for limit in (12, 13):
        build(raw, tmp_path / str(limit), train_limit=limit)
    file = "training/train_images.npy"
    assert tree(tmp_path / "12")[file] != tree(tmp_path / "13")[file]


@pytest.mark.parametrize("part", ["training", "test"])
def test_a_build_that_fails_at_its_last_file_leaves_no_folder(tmp_path, raw, monkeypatch, part):
    def fail(path, text):
        if part in path.parent.name:
            raise OSError("the last file")

    monkeypatch.setattr(cache, "write_text", fail)
    with pytest.raises(OSError, match="the last file"):
        build(raw, tmp_path / "data")
    assert tree(tmp_path / "data") == {}
    assert list((tmp_path / "data").iterdir()) == []


def test_a_file_that_is_refused_leaves_the_cache_that_stood_there(tmp_path, raw):
    folder = tmp_path / "data"
    build(raw, folder)
    before = tree(folder)
    damaged = bytearray(raw.read_bytes())
    damaged[5000] ^= 0xFF  # inside the images, so that only reading them shows it
    raw.write_bytes(damaged)
    with pytest.raises(PipelineError, match="not an intact npz file"):
        build(raw, folder)
    assert tree(folder) == before
    assert {path.name for path in folder.iterdir()} == {"training", "test"}


def test_what_a_killed_run_left_does_not_get_into_the_next_cache(tmp_path, raw):
    build(raw, tmp_path / "clean")
    folder = tmp_path / "data"
    for part in ("training", "test"):
        leftover = folder / f".{part}.partial"
        leftover.mkdir(parents=True)
        (leftover / "train_images.npy").write_bytes(b"half")
        (leftover / ".train_images.npy.x1.npy").write_bytes(b"half")
    build(raw, folder)
    assert tree(folder) == tree(tmp_path / "clean")
    assert {path.name for path in folder.iterdir()} == {"training", "test"}


def test_a_rebuild_replaces_the_folders_with_all_that_was_in_them(tmp_path, raw):
    build(raw, tmp_path)
    for part in ("training", "test"):
        (tmp_path / part / "old.npy").write_bytes(b"")
    training, _ = build(raw, tmp_path, train_limit=3)
    assert training["splits"]["train"]["n"] == 3
    assert [name for name in tree(tmp_path) if name.endswith("old.npy")] == []
    assert len(load(tmp_path, "train", "images")) == 3


def test_memory_stays_at_a_few_blocks_however_large_the_array_is(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "BLOCK_BYTES", 1 << 18)
    write_npz(tmp_path / "raw.npz", MEDMNIST["breastmnist"], dict.fromkeys(COUNTS, 20_000))  # 16 MB each
    tracemalloc.start()
    build(tmp_path / "raw.npz", tmp_path / "cached")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


@pytest.mark.skipif(not os.environ.get("MOSAIC_REAL_DATA"), reason="MOSAIC_REAL_DATA does not name official files")
@pytest.mark.parametrize(
    ("name", "size"), [("retinamnist", 28), ("breastmnist", 28), ("adrenalmnist3d", 28), ("adrenalmnist3d", 64)]
)
def test_real_files_go_from_a_mirror_into_a_cache_that_is_official_and_whole(tmp_path, name, size):
    dataset = MEDMNIST[name]
    data = data_params(mirror=str(Path(os.environ["MOSAIC_REAL_DATA"]).resolve()), size_3d=size)
    counts = fetch(dataset, data, phantom=None, target=tmp_path / "raw.npz")
    assert counts == official.read_info()[name]["n_samples"]

    training, test = build_cache(
        tmp_path / "raw.npz", tmp_path / "training", tmp_path / "test", dataset, official.about(dataset), data
    )
    assert test["official"] is True
    # One of BreastMNIST's test images is a training image in the official file: said, not refused.
    repeated = [{"kind": "in_train", "split": "test", "images": 1}] if name == "breastmnist" else []
    assert (training["findings"], test["findings"]) == ([], repeated)
    for split, count in counts.items():
        meta = test if split == "test" else training
        assert meta["size"] == size
        assert (meta["splits"][split]["n"], meta["splits"][split]["of"]) == (count, count)
        images, labels = (load(tmp_path, split, kind) for kind in ("images", "labels"))
        assert images.shape == (count, *dataset.image_shape(size))
        assert labels.shape == (count, 1)
        assert set(np.unique(labels)) == set(range(len(test["class_names"])))
