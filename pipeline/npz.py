"""Npz files: written to the same bytes on every machine, and read without trusting what they hold.

`numpy.load` ignores `mmap_mode` for an npz, believes every size that it is told, and answers what it cannot read with
the advice to unpickle it.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic import atomic

_READ_BYTES = 16 << 20
# Neither images nor weights of this size compress like that; a file that is made to fill memory or disk does.
BOMB_BYTES, BOMB_RATIO = 1 << 30, 200

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
        order = " in Fortran order" if self.fortran_order else ""
        return f"{self.dtype} [{','.join(map(str, self.shape))}]{order}"


class Npz:
    """An open npz: names, headers, and arrays that are read only when they are asked for. Raises Damaged."""

    def __init__(self, archive: ZipFile) -> None:
        """Take an archive; neither encrypted nor with other compressions than numpy's, each array there once."""
        self._archive = archive
        self._members: dict[str, ZipInfo] = {}
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if member.flag_bits & 1:
                raise Damaged(f"{name} is encrypted")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                method = zipfile.compressor_names.get(member.compress_type, member.compress_type)
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
        try:
            shape, fortran_order, dtype = _READ_HEADER[np.lib.format.read_magic(front)](front)
        except Exception:  # whatever a parser may make of foreign bytes
            raise Damaged(f"{name} does not begin like an array of numpy") from None
        header = Header(shape, fortran_order, dtype, front.tell())
        stored, said = self._members[name].file_size - header.start, prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise Damaged(f"{name} is {header}: Python objects, which are never loaded")
        if stored != said:
            raise Damaged(f"{name} holds {stored} bytes where its header says {said}")
        return header

    def read(self, name: str) -> NDArray:
        """Return an array, which takes as much memory as its header says: look at that first."""
        header = self.header(name)
        content = b"".join(self._bytes(name, header.start, _READ_BYTES))
        order = "F" if header.fortran_order else "C"
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
def open_npz(path: Path) -> Iterator[Npz]:
    """Open an npz for reading. Raises FileNotFoundError, and Damaged for whatever else keeps it from being read."""
    try:
        _look_at(path)
        with ZipFile(path) as archive:
            declared, size = sum(member.file_size for member in archive.infolist()), path.stat().st_size
            if declared > max(BOMB_BYTES, BOMB_RATIO * size):
                raise Damaged(f"{size} bytes that say they unpack to {declared}")
            yield Npz(archive)
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


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, atomically.

    Not by `numpy.savez`, whose zip headers differ between Python versions; uncompressed, because zlib's output does.
    """
    with atomic(path) as temporary, ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            member, content = ZipInfo(f"{name}.npy"), BytesIO()  # dated 1980
            member.create_system = 3  # Unix, also where it is not
            np.lib.format.write_array(content, array, allow_pickle=False)
            archive.writestr(member, content.getbuffer())
