"""The processes that train one model together, one device each, as torchrun starts them.

Every process holds the whole model and works on its own part of each batch of the same dataset, so one specialist is
active everywhere. Gradients are averaged by torch's DistributedDataParallel.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mosaic_pipeline.errors import ProcessLost, one_line
from mosaic_pipeline.launch import MEETING, launched

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """One process's part of a batch.

    `positions` are those of its images in the pass; `weight` is what the mean over them counts in the mean over
    processes, so that the average of the weighted losses is the mean loss of the whole batch of `batch` images.
    """

    positions: slice
    weight: float
    batch: int

    @property
    def size(self) -> int:
        """Number of images that the process computes with."""
        return self.positions.stop - self.positions.start


@dataclass(frozen=True)
class Processes:
    """This process (`rank`) among `count`; alone unless said otherwise."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes files, prints, and talks to MLflow."""
        return self.rank == 0

    def shares(self, total: int, batch_size: int) -> list[Share]:
        """Cut a pass over `total` images into batches and return this process's part of each.

        With fewer images in a batch than processes, those without any run along on its first one, which counts zero:
        every process must take part in every step.
        """
        shares = []
        for start in range(0, total, batch_size):
            stop = min(start + batch_size, total)
            part = math.ceil((stop - start) / self.count)
            first = start + self.rank * part
            last = min(first + part, stop)
            positions, images = (slice(first, last), last - first) if first < stop else (slice(start, start + 1), 0)
            shares.append(Share(positions, images * self.count / (stop - start), stop - start))
        return shares

    def wrap(self, model: nn.Module, *, partly_used: bool) -> nn.Module:
        """Return `model` so that its backward pass averages gradients over the processes.

        `partly_used`: a step may leave parameters out; what no process used then keeps `grad is None`.
        """
        if self.count == 1:
            return model
        return nn.parallel.DistributedDataParallel(model, find_unused_parameters=partly_used)

    def block(self, total: int) -> slice:
        """Return this process's consecutive part of `total` rows."""
        part = math.ceil(total / self.count)
        return slice(min(self.rank * part, total), min((self.rank + 1) * part, total))

    def gather(self, rows: Tensor, total: int) -> Tensor:
        """Put the blocks [n, ...] of all processes back together, [total, ...], every row once."""
        if self.count == 1:
            return rows
        part = math.ceil(total / self.count)
        padded = rows.new_zeros((part, *rows.shape[1:]))
        padded[: len(rows)] = rows
        blocks = [torch.empty_like(padded) for _ in range(self.count)]
        dist.all_gather(blocks, padded)
        # Only the blocks after the last row are padded.
        return torch.cat(blocks)[:total]

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.count > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Return whether any process has the flag set; all processes must ask."""
        if self.count == 1:
            return flag
        # On the CPU, whatever the device: the host does not wait for the GPU.
        flags = torch.tensor(int(flag))
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)

    def agree(self, value: T) -> T:
        """Return the leading process's value in all of them; it travels by pickle, between our own processes."""
        if self.count == 1:
            return value
        values: list[Any] = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the other processes that torchrun started; alone without torchrun.

    Raises ProcessLost when another process is gone.
    """
    if not launched():
        yield Processes()
        return
    where: dict[str, Any] = {"backend": "gloo"}
    if device.type == "cuda":
        torch.cuda.set_device(device)
        where = {"backend": "cpu:gloo,cuda:nccl", "device_id": device}
    if MEETING in os.environ:
        rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        where |= {"store": dist.FileStore(os.environ[MEETING], count), "rank": rank, "world_size": count}
    try:
        dist.init_process_group(**where)
    except (RuntimeError, ValueError) as error:
        raise ProcessLost(f"process {os.environ['RANK']} could not meet the others: {one_line(str(error))}") from error
    rank, count = dist.get_rank(), dist.get_world_size()
    try:
        yield Processes(rank, count)
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise ProcessLost(f"process {rank} of {count} lost the others") from error
        raise
    # Not after an error: the others may be gone, and waiting for them would hide it.
    dist.destroy_process_group()
