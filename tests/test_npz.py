import hashlib

import numpy as np

from pipeline.npz import write_npz


def test_an_npz_loads_back_and_is_the_same_bytes_wherever_it_is_written(tmp_path):
    arrays = {"a/b": np.arange(6, dtype=np.float32).reshape(2, 3), "labels": np.array([[1], [2]])}
    path = tmp_path / "arrays.npz"
    write_npz(path, arrays)
    with np.load(path, allow_pickle=False) as loaded:
        assert set(loaded.files) == set(arrays)
        assert all(np.array_equal(loaded[name], array) for name, array in arrays.items())
    # What `numpy.savez` writes has another digest with each of several versions of Python.
    assert hashlib.md5(path.read_bytes()).hexdigest() == "0d6baf67575e5eed9d529c8a2723117b"
