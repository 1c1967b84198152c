"""What the analyses look at: a trained model, its configuration and a few validation cases of each dataset."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.compute import autocast
from pipeline.config import Config
from pipeline.data.augment import normalise, to_float
from pipeline.data.batches import Batch, Split, consecutive
from pipeline.data.subset import stratified_subset
from pipeline.datasets import DATASETS
from pipeline.model.mosaic import Mosaic


class Cases:
    """At most `limit` cases of a split, class-stratified and always the same; read like a Split, by `predict` too."""

    def __init__(self, split: Split, limit: int) -> None:
        """Choose the rows by the labels alone; every class that the split has occurs, if `limit` allows."""
        self._split = split
        self._rows = torch.from_numpy(stratified_subset(split.labels.cpu().numpy(), limit))
        self.device = split.device
        self.labels = split.labels[self._rows.to(split.device)]

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

    def batches(self, name: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the cases of a dataset as the ViT sees them, not augmented, with their labels int64 [B, L]."""
        cases, model, dimension = self.cases[name], self.config.model, DATASETS[name].dimension
        for batch in cases.batches(consecutive(slice(0, len(cases)), self.batch_size)):
            images = to_float(batch.images, dimension, model.size(dimension))
            yield normalise(images, model.normalisation), batch.labels

    def autocast(self) -> torch.autocast:
        """Return the context in which the model computes in the precision that it was trained in."""
        return autocast(self.device, self.config.precision)
