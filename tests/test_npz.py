import hashlib

import numpy as np

from mosaic_pipeline.npz import Blocks, write_npz


def test_an_npz_loads_back_and_is_the_same_bytes_wherever_it_is_written(tmp_path):
    arrays = {"a/b": np.arange(6, dtype=np.float32).reshape(2, 3), "labels": np.array([[1], [2]])}
    path = tmp_path / "arrays.npz"
    write_npz(path, arrays)
    with np.load(path, allow_pickle=False) as loaded:
        assert set(loaded.files) == set(arrays)
        assert all(np.array_equal(loaded[name], array) for name, array in arrays.items())
    # What `numpy.savez` writes has another digest with each of several versions of Python.
    assert hashlib.md5(path.read_bytes()).hexdigest() == "0d6baf67575e5eed9d529c8a2723117b"


def test_an_array_in_blocks_is_the_same_bytes_as_in_one_piece(tmp_path):
    array = np.arange(7 * 6, dtype=np.uint8).reshape(7, 2, 3)
    write_npz(tmp_path / "whole.npz", {"a": array, "b": array[:1]})
    blocks = Blocks(array.shape, np.uint8, (array[start : start + 3] for start in (0, 3, 6)))
    write_npz(tmp_path / "blocks.npz", {"a": blocks, "b": array[:1]})
    assert (tmp_path / "blocks.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_a_member_that_may_be_beyond_4_gb_is_announced_as_such(tmp_path, monkeypatch):
    monkeypatch.setattr("zipfile.ZIP64_LIMIT", 100)
    write_npz(tmp_path / "a.npz", {"a": Blocks((2, 100), np.uint8, [np.zeros((2, 100), np.uint8)])})
    with np.load(tmp_path / "a.npz") as loaded:
        assert loaded["a"].shape == (2, 100)
