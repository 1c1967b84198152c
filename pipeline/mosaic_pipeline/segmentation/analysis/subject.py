"""What the analyses look at: a trained model and a few validation slices of each dataset."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mosaic_pipeline.compute import autocast
from mosaic_pipeline.data.batches import Batch, consecutive
from mosaic_pipeline.segmentation.data.slices import Slices
from mosaic_pipeline.segmentation.model.experts import ExpertMlp, expert_mlps
from mosaic_pipeline.segmentation.model.m4oe import M4oE

BLOCK = 64  # slices whose masks are looked at at once


class Chosen:
    """Some slices of a split, read like all of them."""

    def __init__(self, split: Slices, rows: NDArray[np.int64]) -> None:
        """Take the slices at `rows` of the split."""
        self._split, self._rows = split, torch.from_numpy(rows)
        self.device, self.where = split.device, split.where[rows]

    @classmethod
    def choose(cls, split: Slices, limit: int) -> "Chosen":
        """Choose at most `limit` slices with an organ, evenly spaced, always the same; of all if none has one."""
        blocks = consecutive(slice(0, len(split)), BLOCK)
        has = torch.cat([batch.labels.flatten(1).any(dim=1) for batch in split.batches(blocks)]).cpu().numpy()
        rows = np.flatnonzero(has) if has.any() else np.arange(len(split))
        count = min(limit, len(rows))
        # Whole numbers alone, so that it is the same slices everywhere.
        return cls(split, rows[(2 * np.arange(count) + 1) * len(rows) // (2 * count)])

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self._rows)

    def batches(self, positions: Sequence[slice]) -> Iterator[Batch]:
        """Yield the slices at each of `positions`."""
        return self._split.batches(positions, self._rows)

    def take(self, start: int, step: int) -> "Chosen":
        """Return every `step`-th of them."""
        return Chosen(self._split, self._rows[start::step].numpy())


@dataclass(frozen=True)
class Subject:
    """A trained model, slices by dataset, and how many of them a forward pass takes.

    `class_voxels` are pixels by class of what each dataset trained on.
    """

    model: M4oE
    slices: Mapping[str, Chosen]
    class_voxels: Mapping[str, Sequence[int]]
    batch_size: int

    @property
    def mlps(self) -> dict[str, ExpertMlp]:
        """The blocks with experts by place, such as `encoder.0.1`; none where each dataset has a network of its own."""
        if len(self.model.trunks) > 1:
            return {}
        (trunk,) = self.model.trunks.values()
        return {name.removesuffix(".mlp").replace(".blocks.", "."): mlp for name, mlp in expert_mlps(trunk).items()}

    @property
    def precision(self) -> str:
        """That in which the model was trained."""
        return self.model.config.precision

    def batches(self, name: str) -> Iterator[Batch]:
        """Yield the slices of a dataset."""
        chosen = self.slices[name]
        return chosen.batches(consecutive(slice(0, len(chosen)), self.batch_size))

    @torch.inference_mode()
    def run(self, name: str, images: Tensor) -> None:
        """Send slices through the model, as it is deployed, for whoever watches its modules."""
        with autocast(images.device, self.precision):
            self.model(images.float(), name)
