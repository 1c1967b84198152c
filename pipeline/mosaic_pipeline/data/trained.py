"""What models are trained on, by its images: with it an external dataset is found out that is none."""

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.arrays import read_array
from mosaic_pipeline.data.findings import Seen

_BLOCK_BYTES = 16_000_000


def trained_images(folders: Iterable[Path], shape: tuple[int, ...]) -> dict[str, NDArray[np.uint64]]:
    """Return the hashes of the training and validation images of `shape`, by dataset, without constant ones.

    `folders` are those of the cache that training reads. A dataset with images of another shape has none: they are
    other bytes, whatever they show.
    """
    hashes = {}
    for folder in folders:
        splits = [read_array(folder / f"{split}_images.npy", np.uint8, None, mapped=True) for split in ("train", "val")]
        found = [_hashes(images) for images in splits if images.shape[1:] == shape]
        if found:
            hashes[folder.name] = np.concatenate(found)
    return hashes


def _hashes(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    seen = Seen(np.empty((len(images), 0), np.int64))
    for _ in seen.watch(_blocks(images)):
        pass
    return seen.varied


def _blocks(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield the images of a memory-mapped array, and give the pages back that were read."""
    many = max(1, _BLOCK_BYTES // images[0].nbytes)
    for start in range(0, len(images), many):
        yield np.ascontiguousarray(images[start : start + many])
        if hasattr(mmap, "MADV_DONTNEED"):
            cast("mmap.mmap", images.base).madvise(mmap.MADV_DONTNEED)
