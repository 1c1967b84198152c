"""What the analyses look at: a trained model, its configuration and a few validation cases of each dataset."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mosaic_pipeline.compute import autocast
from mosaic_pipeline.config import Config
from mosaic_pipeline.data.augment import normalise, to_float
from mosaic_pipeline.data.batches import Batch, Split, consecutive
from mosaic_pipeline.data.subset import stratified_subset
from mosaic_pipeline.model.mosaic import Mosaic


class Cases:
    """Some cases of a split, read like a Split, by `predict` too."""

    def __init__(self, split: Split, rows: NDArray[np.int64]) -> None:
        """Take the cases at `rows` of the split."""
        self._split = split
        self._rows = torch.from_numpy(rows)
        self.device = split.device
        self.labels = split.labels[self._rows.to(split.device)]

    @classmethod
    def choose(cls, split: Split, limit: int) -> "Cases":
        """Choose at most `limit` cases by the labels alone, always the same; every class occurs, if `limit` allows."""
        return cls(split, stratified_subset(split.labels.cpu().numpy(), limit))

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self._rows)

    def batches(self, positions: Sequence[slice]) -> Iterator[Batch]:
        """Yield the cases at each of `positions`."""
        return self._split.batches(positions, self._rows)


@dataclass(frozen=True)
class Subject:
    """A trained model, its configuration, cases by dataset, and how many of them a forward pass takes."""

    model: Mosaic
    config: Config
    cases: dict[str, Cases]
    batch_size: int

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.backbone.cls_token.device

    def batches(self, name: str) -> Iterator[Tensor]:
        """Yield the cases of a dataset as the ViT sees them, not augmented."""
        cases, model, dimension = self.cases[name], self.config.model, self.config.datasets[name].dimension
        for batch in cases.batches(consecutive(slice(0, len(cases)), self.batch_size)):
            images = to_float(batch.images, dimension, model.size(dimension))
            yield normalise(images, self.model.statistics)

    def autocast(self) -> torch.autocast:
        """Return the context in which the model computes in the precision that it was trained in."""
        return autocast(self.device, self.config.precision)
