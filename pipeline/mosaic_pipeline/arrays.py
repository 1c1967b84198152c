"""Arrays on disk: npy files and the members of npz files, never pickled ones, held against what they should be.

`numpy.load` ignores `mmap_mode` for an npz, believes every size that it is told, and answers what it cannot read with
the advice to unpickle it.
"""

import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import IO, Literal
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mosaic_pipeline.reading import reading

Shape = tuple[int | None, ...] | None
ReadMember = Callable[[str, DTypeLike, Shape], np.ndarray]

_READ_BYTES = 16 << 20
# Neither images nor weights of this size compress like that; a file that is made to fill memory or disk does.
BOMB_BYTES, BOMB_RATIO = 1 << 30, 200

_NUMPYS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_HEADER_BYTES = 16 << 10  # numpy reads headers of up to 10,000 characters
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(OSError, ValueError, OverflowError, RuntimeError, NotImplementedError),
)


class Damaged(Exception):
    """An npz that is not to be read: why, in one line that leaves file and way out to whoever knows them."""


@dataclass(frozen=True)
class Header:
    """What an array says of itself, and where in its member the values begin."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    start: int

    def __str__(self) -> str:
        """Return dtype and shape in the words of error messages."""
        return f"{_described(self.dtype, self.shape)}{' in Fortran order' if self.fortran_order else ''}"

    def wrong_size(self, size: int) -> str:
        """Say how a member or file of `size` bytes differs from what its header says; "" if it does not."""
        stored, said = size - self.start, prod(self.shape) * self.dtype.itemsize
        return f"holds {stored} bytes where its header says {said}" if stored != said else ""


class Npz:
    """An open npz: names, headers, and arrays that are read only when they are asked for. Raises Damaged."""

    def __init__(self, archive: ZipFile, compressions: Collection[int]) -> None:
        """Take an archive; not encrypted, with these compressions alone, each array there once."""
        self._archive = archive
        self._members: dict[str, ZipInfo] = {}
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if member.flag_bits & 1:
                raise Damaged(f"{name} is encrypted")
            if member.compress_type not in compressions:
                names = zipfile.compressor_names  # type: ignore[attr-defined]  # typeshed lacks it
                method = names.get(member.compress_type, member.compress_type)
                raise Damaged(f"{name} is compressed with {method}, which numpy does not write")
            if name in self._members:
                raise Damaged(f"{name} is in it twice")
            self._members[name] = member

    @property
    def names(self) -> list[str]:
        """Names of the arrays, in the file's order."""
        return list(self._members)

    def header(self, name: str) -> Header:
        """Return an array's header; the number of bytes that are stored is held against it."""
        if name not in self._members:
            raise Damaged(f"there is no {name}")
        with self._archive.open(self._members[name]) as member:
            front = BytesIO(member.read(_HEADER_BYTES))
        header = _read_header(front)
        if header is None:
            raise Damaged(f"{name} does not begin like an array of numpy")
        if header.dtype.hasobject:
            raise Damaged(f"{name} is {header}: Python objects, which are never loaded")
        if wrong := header.wrong_size(self._members[name].file_size):
            raise Damaged(f"{name} {wrong}")
        return header

    def read(self, name: str) -> NDArray:
        """Return an array, which takes as much memory as its header says: look at that first."""
        header = self.header(name)
        content = b"".join(self._bytes(name, header.start, _READ_BYTES))
        order: Literal["C", "F"] = "F" if header.fortran_order else "C"
        return np.frombuffer(content, header.dtype).reshape(header.shape, order=order)

    def blocks(self, name: str, block_bytes: int) -> Iterator[NDArray]:
        """Yield an array in C order by its rows, as many at a time as fit into `block_bytes`, at least one."""
        header = self.header(name)
        row_bytes = prod(header.shape[1:]) * header.dtype.itemsize
        for content in self._bytes(name, header.start, max(1, block_bytes // row_bytes) * row_bytes):
            yield np.frombuffer(content, header.dtype).reshape(-1, *header.shape[1:])

    def check_sums(self) -> None:
        """Read everything once, in blocks, against the archive's check sums."""
        for name in self._members:
            for _ in self._bytes(name, 0, _READ_BYTES):
                pass

    def _bytes(self, name: str, start: int, size: int) -> Iterator[bytes]:
        """Yield what follows the first `start` bytes of a member, `size` bytes at a time."""
        with self._archive.open(self._members[name]) as member:
            member.read(start)
            while content := member.read(size):
                yield content


@contextmanager
def open_npz(path: Path, compressions: Collection[int] = _NUMPYS) -> Iterator[Npz]:
    """Open an npz for reading. Raises FileNotFoundError, and Damaged for whatever else keeps it from being read."""
    try:
        _look_at(path)
        with ZipFile(path) as archive:
            declared, size = sum(member.file_size for member in archive.infolist()), path.stat().st_size
            if declared > max(BOMB_BYTES, BOMB_RATIO * size):
                raise Damaged(f"{size} bytes that say they unpack to {declared}")
            yield Npz(archive, compressions)
    except FileNotFoundError:
        raise
    except _UNREADABLE as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Damaged(" ".join(reason.split()) or type(error).__name__) from None


def _look_at(path: Path) -> None:
    """Raise Damaged for what would only be called no zip file."""
    with open(path, "rb") as file:
        start = file.read(6)
    if not start:
        raise Damaged("the file is empty")
    if start == b"\x93NUMPY":
        raise Damaged("a single array, not an archive of arrays")


def read_array(path: Path, dtype: DTypeLike, shape: Shape, *, mapped: bool = False) -> np.ndarray:
    """Return the array of an npy file, in memory or `mapped` into it.

    Raises PipelineError unless the file holds an array of this dtype and shape, whole; None is any shape, or in one
    any length but 0.
    """
    with reading(path):
        _check(_whole(path), dtype, shape)
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)


def map_array(path: Path) -> np.ndarray:
    """Return the array of an npy file, whatever it is, mapped into memory. Raises ValueError, and OSError."""
    _whole(path)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _whole(path: Path) -> Header:
    """Return the header of an npy file that holds as many bytes as it says. Raises ValueError."""
    with open(path, "rb") as file:
        header = _read_header(file)
    if header is None:
        raise ValueError("not an intact npy file")
    if header.dtype.hasobject:
        raise ValueError(f"holds {header}: Python objects, which are never loaded")
    if wrong := header.wrong_size(path.stat().st_size):
        raise ValueError(wrong)
    return header


@contextmanager
def open_arrays(path: Path) -> Iterator[ReadMember]:
    """Yield a function that returns an npz file's array of this name, dtype and shape; None is any length but 0.

    Raises PipelineError if the file is none, is damaged or holds something else under a name; so does what the body
    raises, which must do nothing but read and check.
    """
    # What other tools compress further is read too; `reading` copes with whatever their libraries raise.
    with reading(path), open_npz(path, (*_NUMPYS, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)) as npz:

        def read(name: str, dtype: DTypeLike, shape: Shape) -> np.ndarray:
            if name not in npz.names:
                raise ValueError(f"no array {name}")
            try:
                _check(npz.header(name), dtype, shape)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            return npz.read(name)

        yield read


def _read_header(file: IO[bytes]) -> Header | None:
    """Return the header at the beginning of an npy, None if there is none."""
    try:
        shape, fortran_order, dtype = _READ_HEADER[np.lib.format.read_magic(file)](file)
    except Exception:  # whatever a parser may make of foreign bytes
        return None
    return Header(shape, fortran_order, dtype, file.tell())


def _check(header: Header, dtype: DTypeLike, shape: Shape) -> None:
    """Raise ValueError unless an array is of this dtype and shape, in C order."""
    fits = shape is None or _fits(header.shape, shape)
    if header.dtype != np.dtype(dtype) or not fits or header.fortran_order:
        raise ValueError(f"holds {header}, not {_described(np.dtype(dtype), shape)}")


def _fits(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    if len(found) != len(shape):
        return False
    return all(length == wanted or (wanted is None and length > 0) for length, wanted in zip(found, shape, strict=True))


def _described(dtype: np.dtype, shape: Shape) -> str:
    if shape is None:
        return str(dtype)
    return f"{dtype} [{','.join('N' if length is None else str(length) for length in shape)}]"
