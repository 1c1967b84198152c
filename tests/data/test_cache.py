"""The cache: what is in it, that it is whole, the same bytes each time, and built in little memory."""

import hashlib
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import cache, npz, official
from pipeline.data.cache import build_cache
from pipeline.data.sources import fetch
from pipeline.datasets import DATASETS
from pipeline.errors import PipelineError
from pipeline.params import Data

COUNTS = {"train": 40, "val": 8, "test": 10}


def data_params(**changes):
    defaults = {"source": "mirror", "mirror": "unused", "verify": True, "size_2d": 28, "size_3d": 28}
    limits = {"train_limit": None, "eval_limit": None, "datasets": ["breastmnist"]}
    return Data(**defaults | limits | changes)


def write_npz(path, dataset, counts=COUNTS):
    rng = np.random.default_rng(0)
    content = {}
    for split, count in counts.items():
        content[f"{split}_images"] = rng.integers(0, 256, (count, *dataset.image_shape(28)), dtype=np.uint8)
        highest = 1 if dataset.multi_label else dataset.num_classes - 1
        content[f"{split}_labels"] = rng.integers(0, highest + 1, (count, dataset.label_columns), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **content)
    return content


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "raw" / "breastmnist.npz"
    write_npz(path, DATASETS["breastmnist"])
    return path


def tree(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["breastmnist", "retinamnist", "chestmnist", "adrenalmnist3d"])
def test_the_arrays_are_those_of_the_file_and_can_be_memory_mapped(tmp_path, name):
    content = write_npz(tmp_path / "raw.npz", DATASETS[name])
    build_cache(tmp_path / "raw.npz", tmp_path / "cached", DATASETS[name], data_params())
    for split, count in COUNTS.items():
        images = np.load(tmp_path / "cached" / f"{split}_images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(tmp_path / "cached" / f"{split}_labels.npy", mmap_mode="r", allow_pickle=False)
        assert (images.dtype, images.shape) == (np.uint8, (count, *DATASETS[name].image_shape(28)))
        assert (labels.dtype, labels.shape) == (np.int64, (count, DATASETS[name].label_columns))
        assert images.flags.c_contiguous
        assert labels.flags.c_contiguous
        np.testing.assert_array_equal(images, content[f"{split}_images"])
        np.testing.assert_array_equal(labels, content[f"{split}_labels"])


def test_the_arrays_are_byte_for_byte_what_numpy_would_save(tmp_path, raw):
    build_cache(raw, tmp_path / "cached", DATASETS["breastmnist"], data_params())
    with np.load(raw) as content:
        np.save(tmp_path / "expected.npy", content["train_images"])
    assert (tmp_path / "cached" / "train_images.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


def test_meta_says_what_is_cached_and_where_it_came_from(tmp_path, raw):
    meta = build_cache(raw, tmp_path / "cached", DATASETS["breastmnist"], data_params(train_limit=20, eval_limit=9))
    assert json.loads((tmp_path / "cached" / "meta.json").read_text()) == meta
    assert meta == {
        "dataset": "breastmnist",
        "source": "mirror",
        "size": 28,
        "official": False,
        "raw_md5": hashlib.md5(raw.read_bytes()).hexdigest(),
        "class_names": ["malignant", "normal, benign"],
        "splits": {"train": {"n": 20, "of": 40}, "val": {"n": 8, "of": 8}, "test": {"n": 9, "of": 10}},
    }


def test_a_file_with_the_published_md5_is_called_official(tmp_path, raw, monkeypatch):
    md5 = hashlib.md5(raw.read_bytes()).hexdigest()
    monkeypatch.setattr(official, "published", lambda dataset, size: official.Published("", md5))
    assert build_cache(raw, tmp_path / "cached", DATASETS["breastmnist"], data_params())["official"] is True


@pytest.mark.parametrize("block_bytes", [16 << 20, 3 * 28 * 28, 1], ids=["one block", "three images", "one image"])
def test_a_limited_split_holds_the_subset_with_images_and_labels_in_step(tmp_path, raw, monkeypatch, block_bytes):
    monkeypatch.setattr(npz, "BLOCK_BYTES", block_bytes)
    build_cache(raw, tmp_path / "cached", DATASETS["breastmnist"], data_params(train_limit=12))
    with np.load(raw) as content:
        rows = cache.stratified_subset(content["train_labels"], 12)
        images, labels = content["train_images"][rows], content["train_labels"][rows]
    np.testing.assert_array_equal(np.load(tmp_path / "cached" / "train_images.npy"), images)
    np.testing.assert_array_equal(np.load(tmp_path / "cached" / "train_labels.npy"), labels)


def test_two_builds_write_the_same_bytes(tmp_path, raw):
    for name in ("one", "two"):
        build_cache(raw, tmp_path / name, DATASETS["breastmnist"], data_params(train_limit=12))
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert len(tree(tmp_path / "one")) == 7


def test_another_limit_writes_other_bytes(tmp_path, raw):
    for limit in (12, 13):
        build_cache(raw, tmp_path / str(limit), DATASETS["breastmnist"], data_params(train_limit=limit))
    assert tree(tmp_path / "12")["train_images.npy"] != tree(tmp_path / "13")["train_images.npy"]


def test_a_build_that_fails_half_way_leaves_no_folder(tmp_path, raw, monkeypatch):
    def fail(path, text):
        raise OSError("the last file")

    monkeypatch.setattr(cache, "write_text", fail)
    with pytest.raises(OSError, match="the last file"):
        build_cache(raw, tmp_path / "data" / "cached", DATASETS["breastmnist"], data_params())
    assert list((tmp_path / "data").iterdir()) == []


def test_a_file_that_is_refused_leaves_the_cache_that_stood_there(tmp_path, raw):
    folder = tmp_path / "data" / "cached"
    build_cache(raw, folder, DATASETS["breastmnist"], data_params())
    before = tree(folder)
    damaged = bytearray(raw.read_bytes())
    damaged[5000] ^= 0xFF  # inside the images, so that only reading them shows it
    raw.write_bytes(damaged)
    with pytest.raises(PipelineError, match="not an intact npz file"):
        build_cache(raw, folder, DATASETS["breastmnist"], data_params())
    assert tree(folder) == before
    assert list(folder.parent.iterdir()) == [folder]


def test_what_a_killed_run_left_does_not_get_into_the_next_cache(tmp_path, raw):
    build_cache(raw, tmp_path / "clean" / "cached", DATASETS["breastmnist"], data_params())
    folder = tmp_path / "data" / "cached"
    leftover = folder.with_name(".cached.partial")
    leftover.mkdir(parents=True)
    (leftover / "train_images.npy").write_bytes(b"half")
    (leftover / ".train_images.npy.x1.npy").write_bytes(b"half")
    build_cache(raw, folder, DATASETS["breastmnist"], data_params())
    assert tree(folder) == tree(tmp_path / "clean" / "cached")
    assert list(folder.parent.iterdir()) == [folder]


def test_a_rebuild_replaces_the_folder_with_all_that_was_in_it(tmp_path, raw):
    build_cache(raw, tmp_path / "cached", DATASETS["breastmnist"], data_params())
    (tmp_path / "cached" / "old.npy").write_bytes(b"")
    meta = build_cache(raw, tmp_path / "cached", DATASETS["breastmnist"], data_params(train_limit=3))
    assert meta["splits"]["train"]["n"] == 3
    assert not (tmp_path / "cached" / "old.npy").exists()
    assert len(np.load(tmp_path / "cached" / "train_images.npy")) == 3


def test_memory_stays_at_a_few_blocks_however_large_the_array_is(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "BLOCK_BYTES", 1 << 18)
    images = {f"{split}_images": np.zeros((20_000, 28, 28), np.uint8) for split in COUNTS}  # 16 MB each
    labels = {f"{split}_labels": np.zeros((20_000, 1), np.uint8) for split in COUNTS}
    np.savez_compressed(tmp_path / "raw.npz", **images, **labels)
    tracemalloc.start()
    build_cache(tmp_path / "raw.npz", tmp_path / "cached", DATASETS["breastmnist"], data_params())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


@pytest.mark.skipif(not os.environ.get("MOSAIC_REAL_DATA"), reason="MOSAIC_REAL_DATA does not name official files")
@pytest.mark.parametrize(
    ("name", "size"), [("retinamnist", 28), ("breastmnist", 28), ("adrenalmnist3d", 28), ("adrenalmnist3d", 64)]
)
def test_real_files_go_from_a_mirror_into_a_cache_that_is_official_and_whole(tmp_path, name, size):
    dataset = DATASETS[name]
    data = data_params(mirror=str(Path(os.environ["MOSAIC_REAL_DATA"]).resolve()), size_3d=size)
    counts = fetch(dataset, data, phantom=None, target=tmp_path / "raw.npz")
    assert counts == {"train": dataset.num_train, "val": dataset.num_val, "test": dataset.num_test}

    meta = build_cache(tmp_path / "raw.npz", tmp_path / "cached", dataset, data)
    assert meta["official"] is True
    assert meta["size"] == size
    for split, count in counts.items():
        assert meta["splits"][split] == {"n": count, "of": count}
        images = np.load(tmp_path / "cached" / f"{split}_images.npy", mmap_mode="r")
        labels = np.load(tmp_path / "cached" / f"{split}_labels.npy", mmap_mode="r")
        assert images.shape == (count, *dataset.image_shape(size))
        assert labels.shape == (count, 1)
        assert set(np.unique(labels)) == set(range(len(meta["class_names"])))
