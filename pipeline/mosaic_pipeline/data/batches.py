"""Batches of cached arrays on the device: resident there when they fit, otherwise prefetched from the memory map."""

import mmap
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, cast

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from mosaic_pipeline.arrays import read_array
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.reading import reading

T = TypeVar("T")

GIGABYTE = 1e9
BLOCK_BYTES = 64_000_000


@dataclass(frozen=True)
class Batch:
    """Images and labels as stored, on the device: uint8 [B, ...] and int64 [B, L]; of slices float16 and uint8."""

    images: Tensor
    labels: Tensor


class InBatches(Protocol):
    """What is read like a split, a batch at a time."""

    device: torch.device

    def __len__(self) -> int:
        """Return the number of images."""

    def batches(self, positions: Sequence[slice]) -> Iterator[Batch]:
        """Yield the images at each of `positions`."""


class Mapped:
    """One array of a split, whatever its type: gathered from its memory map, or all of it on the device."""

    def __init__(self, path: Path, dtype: DTypeLike, device: torch.device) -> None:
        """Open an npy file; raises PipelineError if it is missing, damaged or of another type."""
        self.array = read_array(path, dtype, None, mapped=True)
        self.device = device
        self._map = cast("mmap.mmap", self.array.base)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            self._stored = torch.from_numpy(self.array)
        self.resident: Tensor | None = None  # all of it on the device

    def make_resident(self) -> None:
        """Copy the array to the device as it is stored, a block at a time."""
        resident = torch.empty(self.array.shape, dtype=self._stored.dtype, device=self.device)
        rows = max(1, BLOCK_BYTES // self.array[0].nbytes)
        for block in consecutive(slice(0, len(self.array)), rows):
            resident[block] = self._stored[block].to(self.device)
            self._forget()
        self.resident = resident

    def gather(self, rows: Tensor, pin: bool = False) -> Tensor:
        """Return rows on the CPU, pinned for the way to a GPU."""
        taken = torch.empty((len(rows), *self.array.shape[1:]), dtype=self._stored.dtype, pin_memory=pin)
        torch.index_select(self._stored, 0, rows, out=taken)
        self._forget()
        return taken

    def _forget(self) -> None:
        """Give the pages read so far back: they stay in the system's cache, but no longer count as our memory."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


class Split:
    """One split of one dataset.

    Images are gathered from the memory map, so that host memory does not grow with the dataset; for a GPU background
    threads gather into pinned memory ahead of the training, unless `make_resident` put all of them on the device.
    """

    def __init__(self, folder: Path, split: str, device: torch.device, workers: int = 1) -> None:
        """Open `<folder>/<split>_{images,labels}.npy`; raises PipelineError if they are missing, damaged or odd.

        `workers` is the number of background threads.
        """
        images, labels = (folder / f"{split}_{kind}.npy" for kind in ("images", "labels"))
        self._mapped: tuple[Mapped, ...] = (Mapped(images, np.uint8, device),)
        self.labels = torch.from_numpy(read_array(labels, np.int64, (None, None))).to(device)
        with reading(images):
            if self.images.ndim < 3 or not len(self.images):
                raise ValueError(f"images {list(self.images.shape)}")
        with reading(labels):
            if len(self.images) != len(self.labels):
                raise ValueError(f"{len(self.labels)} labels for images {list(self.images.shape)}")
        self.device = device
        self._workers = workers

    @property
    def images(self) -> np.ndarray:
        """All images as stored, mapped into memory."""
        return self._mapped[0].array

    @property
    def nbytes(self) -> int:
        """What `make_resident` takes on the device."""
        return sum(mapped.array.nbytes for mapped in self._mapped)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def make_resident(self) -> None:
        """Copy what is mapped to the device."""
        for mapped in self._mapped:
            mapped.make_resident()

    def batches(self, positions: Sequence[slice], order: Tensor | None = None) -> Iterator[Batch]:
        """Yield the images at each of `positions` in `order` (int64 [N] on the CPU; None = as stored)."""
        order = torch.arange(len(self)) if order is None else order
        on_device = order.to(self.device)
        resident = [mapped.resident for mapped in self._mapped if mapped.resident is not None]
        if len(resident) == len(self._mapped):
            gathered = ([each[on_device[taken]] for each in resident] for taken in positions)
        elif self.device.type == "cpu":
            gathered = (self._gather(order[taken]) for taken in positions)
        else:
            host = _prefetched(lambda taken: self._gather(order[taken], pin=True), positions, self._workers)
            gathered = ([each.to(self.device, non_blocking=True) for each in batch] for batch in host)
        for taken, arrays in zip(positions, gathered, strict=True):
            yield self._batch(arrays, on_device[taken])

    def _gather(self, rows: Tensor, pin: bool = False) -> list[Tensor]:
        return [mapped.gather(rows, pin) for mapped in self._mapped]

    def _batch(self, arrays: Sequence[Tensor], rows: Tensor) -> Batch:
        (images,) = arrays
        return Batch(images, self.labels[rows])


def consecutive(rows: slice, batch_size: int) -> list[slice]:
    """Cut rows start to stop into batches, the last one possibly smaller."""
    return [slice(start, min(start + batch_size, rows.stop)) for start in range(rows.start, rows.stop, batch_size)]


def open_splits(
    cached: Path,
    datasets: Mapping[str, Dataset],
    splits: Iterable[str],
    device: torch.device,
    budget_gb: float = 0,
    workers: int = 1,
) -> tuple[dict[str, Split], ...]:
    """Open splits of every dataset, one mapping name -> split for each of `splits`.

    Those that still fit into `budget_gb`, first come first served, stay on the device; never on the CPU, where the
    memory map serves as well. For the others `workers` threads read ahead. Raises PipelineError for a split that is
    missing or damaged, or whose images or labels cannot be the dataset's.
    """
    remaining = budget_gb * GIGABYTE if device.type != "cpu" else 0
    opened: tuple[dict[str, Split], ...] = ()
    for split in splits:
        by_name = {}
        for name, dataset in datasets.items():
            by_name[name] = Split(cached / name, split, device, workers)
            _check(by_name[name], cached / name, split, dataset)
            remaining -= fit(by_name[name], remaining)
        opened += (by_name,)
    return opened


def fit(split: Split, remaining: float) -> int:
    """Put a split on the device if that takes no more than the `remaining` bytes; return how many it took."""
    if split.nbytes > remaining:
        return 0
    split.make_resident()
    return split.nbytes


def _check(opened: Split, folder: Path, split: str, dataset: Dataset) -> None:
    stored = opened.images.shape[1:]
    with reading(folder / f"{split}_images.npy"):
        if stored != dataset.image_shape(stored[0]):
            raise ValueError(f"images {list(stored)}; those of {dataset.name} are like {list(dataset.image_shape(28))}")
    least, most = opened.labels.min().item(), opened.labels.max().item()
    with reading(folder / f"{split}_labels.npy"):
        if opened.labels.shape[1] != dataset.label_columns:
            raise ValueError(f"{opened.labels.shape[1]} labels an image; {dataset.name} has {dataset.label_columns}")
        if least < 0 or most > dataset.highest_label:
            raise ValueError(f"labels {least} to {most}; those of {dataset.name} are 0 to {dataset.highest_label}")


def _prefetched(make: Callable[[slice], T], keys: Sequence[slice], workers: int) -> Iterator[T]:
    """Yield make(key) in order while `workers` threads are at most twice as many keys ahead."""
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[T]] = deque()
        for key in keys:
            pending.append(pool.submit(make, key))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
