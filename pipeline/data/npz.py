"""The official MedMNIST file layout: an npz with `{train,val,test}_{images,labels}`, read without loading it whole.

`numpy.load` ignores `mmap_mode` for an npz and would hold PathMNIST at 224 px as 13.5 GB of memory.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets import SPLITS, Dataset
from pipeline.errors import PipelineError
from pipeline.reading import reason

BLOCK_BYTES = 16 << 20

_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class _Mismatch(Exception):
    """A file that is an npz but not in the official layout; says in which respect."""


def check_npz(path: Path, dataset: Dataset, size: int, origin: str | None = None) -> dict[str, int]:
    """Hold a file against the official layout at `size` and return the number of images per split.

    Keys, dtypes, shapes, lengths and label values are checked; of the images only the header is read, so damage
    inside their bytes shows when they are read. `origin` is what errors call the file.
    Raises PipelineError for the first thing that is not as it should be.
    """
    origin = origin or str(path)
    with _open_npz(path, origin) as archive:
        try:
            return {split: _check_split(archive, split, dataset, size) for split in SPLITS}
        except _Mismatch as mismatch:
            raise PipelineError(f"{origin}: {mismatch}; {_layout(dataset, size)}") from None


def read_labels(path: Path, split: str) -> NDArray[np.int64]:
    """Return the labels of one split, [N,L] with L = 1, or one column per yes/no label."""
    with _open_npz(path, str(path)) as archive, archive.open(f"{split}_labels.npy") as member:
        labels = np.lib.format.read_array(member, allow_pickle=False)
    return np.ascontiguousarray(labels, dtype=np.int64)


def read_image_blocks(path: Path, split: str) -> Iterator[NDArray[np.uint8]]:
    """Yield the images of one split in order, in blocks of about BLOCK_BYTES: [n,*image_shape] uint8."""
    with _open_npz(path, str(path)) as archive, archive.open(f"{split}_images.npy") as member:
        (count, *image_shape), _, dtype = _read_header(member)
        image_bytes = prod(image_shape) * dtype.itemsize
        step = max(1, BLOCK_BYTES // image_bytes)
        for start in range(0, count, step):
            rows = min(step, count - start)
            yield np.frombuffer(member.read(rows * image_bytes), dtype).reshape(rows, *image_shape)


@contextmanager
def _open_npz(path: Path, origin: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (PipelineError, _Mismatch, MemoryError):
        raise
    except FileNotFoundError:
        raise PipelineError(f"{origin}: no such file; `dvc repro download` fetches it") from None
    except Exception as error:  # encrypted, bz2, lzma, a folder: damage reaches zipfile in more ways than anyone lists
        raise PipelineError(f"{origin}: not an intact npz file ({reason(error)}); it must be fetched again") from None


def _layout(dataset: Dataset, size: int) -> str:
    image = ",".join(map(str, dataset.image_shape(size)))
    return (
        f"{dataset.title} at {size} has images uint8 [N,{image}] in C order "
        f"and integer labels [N,{dataset.label_columns}] from 0 to {dataset.highest_label}, "
        f"for each of {', '.join(SPLITS)}"
    )


def _check_split(archive: zipfile.ZipFile, split: str, dataset: Dataset, size: int) -> int:
    """Return the number of images of a split; raises _Mismatch."""
    images, labels = f"{split}_images", f"{split}_labels"
    for key in (images, labels):
        if f"{key}.npy" not in archive.namelist():
            raise _Mismatch(f"there is no {key}")

    with archive.open(f"{images}.npy") as member:
        shape, fortran_order, dtype = _read_header(member)
        stored = archive.getinfo(member.name).file_size - member.tell()
    if dtype != np.uint8 or shape[1:] != dataset.image_shape(size) or fortran_order:
        raise _Mismatch(f"{images} is {_describe(shape, fortran_order, dtype)}")
    if shape[0] == 0:
        raise _Mismatch(f"{images} is empty")
    if stored != prod(shape):
        raise _Mismatch(f"{images} holds {stored} bytes where its header says {prod(shape)}")
    count = shape[0]

    with archive.open(f"{labels}.npy") as member:
        shape, fortran_order, dtype = _read_header(member)
    if dtype.kind not in "iu" or shape[1:] != (dataset.label_columns,):
        raise _Mismatch(f"{labels} is {_describe(shape, fortran_order, dtype)}")
    if shape[0] != count:
        raise _Mismatch(f"{labels} has {shape[0]} rows for {count} images")
    with archive.open(f"{labels}.npy") as member:
        values = np.lib.format.read_array(member, allow_pickle=False)
    if values.min() < 0 or values.max() > dataset.highest_label:
        raise _Mismatch(f"{labels} has values from {values.min()} to {values.max()}")
    return count


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, Fortran order and dtype; leaves `member` at the first byte of the data."""
    version = np.lib.format.read_magic(member)
    if version not in _READ_HEADER:
        raise ValueError(f"npy format {version[0]}.{version[1]}")
    return _READ_HEADER[version](member)


def _describe(shape: tuple[int, ...], fortran_order: bool, dtype: np.dtype) -> str:
    order = " in Fortran order" if fortran_order else ""
    return f"{dtype} [{','.join(map(str, shape))}]{order}"
