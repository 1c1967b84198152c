import zipfile

import numpy as np
import pytest

from mosaic_pipeline.arrays import open_arrays, read_array
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.npz import write_npz

STORED = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "array.npy", STORED)
    return tmp_path / "array.npy"


@pytest.mark.parametrize("shape", [None, (4, 3, 2), (None, 3, 2), (None, None, None)])
@pytest.mark.parametrize("mapped", [False, True])
def test_an_array_of_the_dtype_and_shape_is_returned_as_it_is_stored(file, shape, mapped):
    array = read_array(file, np.uint8, shape, mapped=mapped)
    np.testing.assert_array_equal(array, STORED)
    assert isinstance(array, np.memmap) == mapped


@pytest.mark.parametrize(
    ("dtype", "shape", "line"),
    [
        (np.int64, (4, 3, 2), r"holds uint8 \[4,3,2\], not int64 \[4,3,2\]"),
        (np.uint8, (4, 3), r"not uint8 \[4,3\]"),
        (np.uint8, (None, 3, 3), r"not uint8 \[N,3,3\]"),
    ],
)
def test_another_array_is_refused_with_both_in_the_line(file, dtype, shape, line):
    with pytest.raises(PipelineError, match=rf"array\.npy: .*{line}"):
        read_array(file, dtype, shape)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("size", [0, 5, 9, 60, 127, 128, 151, 153])
def test_a_file_of_another_length_is_refused(file, size, mapped):
    content = file.read_bytes()
    assert len(content) == 152
    file.write_bytes((content + b"\0")[:size])
    with pytest.raises(PipelineError, match=r"array\.npy: (not an intact npy|holds .* bytes where)"):
        read_array(file, np.uint8, None, mapped=mapped)


@pytest.mark.parametrize(
    "array",
    [np.zeros((0, 3), np.uint8), np.asfortranarray(STORED), np.array([{}], object)],
    ids=["none", "F", "pickle"],
)
def test_no_rows_other_orders_and_pickles_are_refused(tmp_path, array):
    np.save(tmp_path / "array.npy", array, allow_pickle=True)
    with pytest.raises(PipelineError, match=r"array\.npy: "):
        read_array(tmp_path / "array.npy", np.uint8, (None,) * array.ndim)


def test_members_come_by_name_and_what_is_wrong_with_one_names_file_and_member(tmp_path):
    write_npz(tmp_path / "file.npz", {"set/scores": STORED})
    with open_arrays(tmp_path / "file.npz") as read:
        np.testing.assert_array_equal(read("set/scores", np.uint8, (4, 3, 2)), STORED)
    for name, dtype, line in (
        ("set/labels", np.uint8, "no array set/labels"),
        ("set/scores", np.int8, "set/scores: hol"),
    ):
        with pytest.raises(PipelineError, match=rf"file\.npz: {line}"), open_arrays(tmp_path / "file.npz") as read:
            read(name, dtype, (4, 3, 2))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_file_is_read_and_a_damaged_one_refused(tmp_path, method):
    np.save(tmp_path / "a.npy", STORED)
    with zipfile.ZipFile(tmp_path / "file.npz", "w", method) as archive:
        archive.write(tmp_path / "a.npy", "a.npy")
    with open_arrays(tmp_path / "file.npz") as read:
        np.testing.assert_array_equal(read("a", np.uint8, None), STORED)
    content = bytearray((tmp_path / "file.npz").read_bytes())
    content[60] ^= 0xFF
    (tmp_path / "file.npz").write_bytes(content)
    with pytest.raises(PipelineError, match=r"file\.npz: "), open_arrays(tmp_path / "file.npz") as read:
        read("a", np.uint8, None)
