"""Arrays on disk: npy files and the members of npz files, never pickled ones, held against what they should be."""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import DTypeLike

from pipeline.reading import reading

Shape = tuple[int | None, ...] | None
ReadMember = Callable[[str, DTypeLike, Shape], np.ndarray]

_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_array(path: Path, dtype: DTypeLike, shape: Shape, *, mapped: bool = False) -> np.ndarray:
    """Return the array of an npy file, in memory or `mapped` into it.

    Raises PipelineError unless the file holds an array of this dtype and shape, whole; None is any shape, or in one
    any length but 0.
    """
    with reading(path):
        with open(path, "rb") as file:
            _check_member(file, path.stat().st_size, dtype, shape)
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)


@contextmanager
def open_arrays(path: Path) -> Iterator[ReadMember]:
    """Yield a function that returns an npz file's array of this name, dtype and shape; None is any length but 0.

    Raises PipelineError if the file is none, is damaged or holds something else under a name; so does what the body
    raises, which must do nothing but read and check.
    """
    with reading(path), zipfile.ZipFile(path) as archive:

        def read(name: str, dtype: DTypeLike, shape: Shape) -> np.ndarray:
            member = f"{name}.npy"
            if member not in archive.namelist():
                raise ValueError(f"no array {name}")
            with archive.open(member) as file:
                try:
                    found = _check_member(file, archive.getinfo(member).file_size, dtype, shape)
                    return np.frombuffer(file.read(), dtype).reshape(found)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from None

        yield read


def _check_member(file: IO[bytes], size: int, dtype: DTypeLike, shape: Shape) -> tuple[int, ...]:
    """Return the shape in the header of an npy of so many bytes; leaves `file` at the array. Raises ValueError."""
    try:
        version = np.lib.format.read_magic(file)
        found, fortran_order, found_dtype = _READ_HEADER[version](file)
    except Exception:  # what the parser of Python literals in there says tells nobody anything
        raise ValueError("not an intact npy file") from None
    wanted = np.dtype(dtype)
    fits = shape is None or _fits(found, shape)
    if found_dtype != wanted or not fits or fortran_order:
        order = " in Fortran order" if fortran_order else ""
        raise ValueError(f"holds {_described(found_dtype, found)}{order}, not {_described(wanted, shape)}")
    if (stored := size - file.tell()) != prod(found) * wanted.itemsize:
        raise ValueError(f"holds {stored} bytes where its header says {prod(found) * wanted.itemsize}")
    return found


def _fits(found: tuple[int, ...], shape: Shape) -> bool:
    if len(found) != len(shape):
        return False
    return all(length == wanted or (wanted is None and length) for length, wanted in zip(found, shape, strict=True))


def _described(dtype: np.dtype, shape: Shape) -> str:
    if shape is None:
        return str(dtype)
    return f"{dtype} [{','.join('N' if length is None else str(length) for length in shape)}]"
