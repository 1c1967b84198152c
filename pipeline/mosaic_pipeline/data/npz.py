"""The official MedMNIST file layout: an npz with `{train,val,test}_{images,labels}`, read without loading it whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.arrays import Damaged, Npz, open_npz
from mosaic_pipeline.datasets import SPLITS, Dataset
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import maker

BLOCK_BYTES = 16 << 20


class _Mismatch(Exception):
    """A file that is an npz but not in the official layout; says in which respect."""


def check_npz(path: Path, dataset: Dataset, size: int, origin: str | None = None) -> dict[str, int]:
    """Hold a file against the official layout at `size` and return the number of images per split.

    Keys, dtypes, shapes, lengths and label values are checked; of the images only the header is read, so damage
    inside their bytes shows when they are read. `origin` is what errors call the file.
    Raises PipelineError for the first thing that is not as it should be.
    """
    origin = origin or str(path)
    with _opened(path, origin) as npz:
        try:
            return {split: _check_split(npz, split, dataset, size) for split in SPLITS}
        except _Mismatch as mismatch:
            raise PipelineError(f"{origin}: {mismatch}; {_layout(dataset, size)}") from None


def read_labels(path: Path, split: str) -> NDArray[np.int64]:
    """Return the labels of one split, [N,L] with L = 1, or one column per yes/no label."""
    with _opened(path, str(path)) as npz:
        labels = npz.read(f"{split}_labels")
    return np.ascontiguousarray(labels, dtype=np.int64)


def read_notes(path: Path) -> list[str]:
    """Return the sentences on what was done to the images of a dataset of one's own; other files have none."""
    with _opened(path, str(path)) as npz:
        return npz.read("notes").tolist() if "notes" in npz.names else []


def read_patients(path: Path, split: str) -> NDArray[np.int64] | None:
    """Return whose the images of one split are, a number each [N]; None for a file that does not say."""
    with _opened(path, str(path)) as npz:
        name = f"{split}_patients"
        return npz.read(name).astype(np.int64) if name in npz.names else None


def read_image_blocks(path: Path, split: str) -> Iterator[NDArray[np.uint8]]:
    """Yield the images of one split in order, in blocks of about BLOCK_BYTES: [n,*image_shape] uint8."""
    with _opened(path, str(path)) as npz:
        yield from npz.blocks(f"{split}_images", BLOCK_BYTES)


@contextmanager
def _opened(path: Path, origin: str) -> Iterator[Npz]:
    try:
        with open_npz(path) as npz:
            yield npz
    except FileNotFoundError:
        raise PipelineError(f"{origin}: no such file; `{maker(path)}` fetches it") from None
    except Damaged as damage:
        raise PipelineError(f"{origin}: not an intact npz file ({damage}); it must be fetched again") from None


def _layout(dataset: Dataset, size: int) -> str:
    image = ",".join(map(str, dataset.image_shape(size)))
    return (
        f"{dataset.name} at {size} has images uint8 [N,{image}] in C order "
        f"and integer labels [N,{dataset.label_columns}] from 0 to {dataset.highest_label}, "
        f"for each of {', '.join(SPLITS)}"
    )


def _check_split(npz: Npz, split: str, dataset: Dataset, size: int) -> int:
    """Return the number of images of a split; raises _Mismatch, or Damaged."""
    images, labels = f"{split}_images", f"{split}_labels"
    for key in (images, labels):
        if key not in npz.names:
            raise _Mismatch(f"there is no {key}")

    header = npz.header(images)
    if header.dtype != np.uint8 or header.shape[1:] != dataset.image_shape(size) or header.fortran_order:
        raise _Mismatch(f"{images} is {header}")
    count = header.shape[0]
    if count == 0:
        raise _Mismatch(f"{images} is empty")

    header = npz.header(labels)
    if header.dtype.kind not in "iu" or header.shape[1:] != (dataset.label_columns,):
        raise _Mismatch(f"{labels} is {header}")
    if header.shape[0] != count:
        raise _Mismatch(f"{labels} has {header.shape[0]} rows for {count} images")
    values = npz.read(labels)
    if values.min() < 0 or values.max() > dataset.highest_label:
        raise _Mismatch(f"{labels} has values from {values.min()} to {values.max()}")
    return count
