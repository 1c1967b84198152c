"""Batches of cached arrays on the device: resident there when they fit, otherwise prefetched from the memory map."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import PipelineError

GIGABYTE = 1e9
PREFETCH = 3


@dataclass(frozen=True)
class Batch:
    """Stored images uint8 [B, ...], labels int64 [B, L] and their positions in the pass [B], on the device."""

    images: Tensor
    labels: Tensor
    positions: slice


class Split:
    """One split of one dataset.

    Images are gathered from the memory map, so that host memory does not grow with the dataset; for a GPU background
    threads gather into pinned memory ahead of the training, unless `make_resident` put all of them on the device.
    """

    def __init__(self, folder: Path, split: str, device: torch.device) -> None:
        """Open `<folder>/<split>_{images,labels}.npy`; raises PipelineError if they are missing."""
        try:
            self.images = np.load(folder / f"{split}_images.npy", mmap_mode="r", allow_pickle=False)
            labels = np.load(folder / f"{split}_labels.npy", allow_pickle=False)
        except (FileNotFoundError, ValueError) as error:
            raise PipelineError(
                f"{folder}: no usable cached {split} split ({error}); `dvc repro cache` makes it"
            ) from None
        self.device = device
        self.labels = torch.from_numpy(labels).to(device)
        self._resident: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def make_resident(self) -> None:
        """Copy all images to the device as they are stored."""
        self._resident = torch.from_numpy(np.array(self.images)).to(self.device)

    def batches(self, batch_size: int, order: Tensor | None = None) -> Iterator[Batch]:
        """Yield the split in `order` (int64 [N] on the CPU; None = as stored), the last batch possibly smaller."""
        order = torch.arange(len(self)) if order is None else order
        slices = [slice(start, start + batch_size) for start in range(0, len(order), batch_size)]
        if self._resident is not None:
            order = order.to(self.device)
            for positions in slices:
                rows = order[positions]
                yield Batch(self._resident[rows], self.labels[rows], positions)
            return
        rows_on_device = order.to(self.device)
        gathered = (
            map(lambda positions: self._gather(order[positions]), slices)
            if self.device.type == "cpu"
            else _prefetched(lambda positions: self._gather(order[positions]).pin_memory(), slices)
        )
        for positions, images in zip(slices, gathered, strict=True):
            labels = self.labels[rows_on_device[positions]]
            yield Batch(images.to(self.device, non_blocking=True), labels, positions)

    def _gather(self, rows: Tensor) -> Tensor:
        # Reading in file order turns random access on a spinning or network disk into one sweep.
        sweep = torch.argsort(rows)
        images = torch.empty((len(rows), *self.images.shape[1:]), dtype=torch.uint8)
        images[sweep] = torch.from_numpy(self.images[rows[sweep].numpy()])
        return images


def open_splits(
    cached: Path, datasets: Iterable[str], splits: Iterable[str], device: torch.device, budget_gb: float = 0
) -> tuple[dict[str, Split], ...]:
    """Open splits of every dataset, one mapping name -> split for each of `splits`.

    Those that still fit into `budget_gb`, first come first served, stay on the device; never on the CPU, where the
    memory map serves as well.
    """
    remaining = budget_gb * GIGABYTE if device.type != "cpu" else 0
    opened: tuple[dict[str, Split], ...] = ()
    for split in splits:
        by_name = {}
        for name in datasets:
            by_name[name] = Split(cached / name, split, device)
            if by_name[name].images.nbytes <= remaining:
                remaining -= by_name[name].images.nbytes
                by_name[name].make_resident()
        opened += (by_name,)
    return opened


def _prefetched(make: Callable[[slice], Tensor], keys: list[slice]) -> Iterator[Tensor]:
    """Yield make(key) in order while threads work a few keys ahead."""
    with ThreadPoolExecutor(PREFETCH) as pool:
        pending: deque[Future[Tensor]] = deque()
        for key in keys:
            pending.append(pool.submit(make, key))
            if len(pending) > PREFETCH:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
