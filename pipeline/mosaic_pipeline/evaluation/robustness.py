"""How a trained model does on corrupted test images: one pass over the split for each strength."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mosaic_pipeline.config import Config
from mosaic_pipeline.data.batches import Batch, Split
from mosaic_pipeline.data.corruptions import STRENGTHS, corrupt
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.evaluation import metrics
from mosaic_pipeline.evaluation.contributions import contributions
from mosaic_pipeline.evaluation.predict import predict
from mosaic_pipeline.model.mosaic import Mosaic


class Corrupted:
    """A split whose images are corrupted as they are read; read like a Split, by `predict` too."""

    def __init__(self, split: Split, dataset: Dataset, kind: str, strength: int) -> None:
        """Corrupt the images of a dataset's split by a kind of `corruptions.KINDS`, strength 1 to STRENGTHS."""
        self._split = split
        self._dataset = dataset
        self._how = (kind, strength)
        self.device = split.device
        self.labels = split.labels

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._split)

    def batches(self, positions: Sequence[slice]) -> Iterator[Batch]:
        """Yield the images at each of `positions`, corrupted by dataset and row whatever the batches are."""
        name, dimension = self._dataset.name, self._dataset.dimension
        for taken, batch in zip(positions, self._split.batches(positions), strict=True):
            images = [
                corrupt(image, dimension, *self._how, f"{name}/{row}")
                for row, image in enumerate(batch.images.cpu().numpy(), taken.start)
            ]
            yield Batch(torch.from_numpy(np.stack(images)).to(self.device), batch.labels)


@dataclass(frozen=True)
class Stressed:
    """ACC and AUC by strength, mildest first, nan where undefined.

    `contributions` are what each case contributes to both: float32 [STRENGTHS, N, 2].
    """

    acc: list[float]
    auc: list[float]
    contributions: np.ndarray

    def record(self) -> dict[str, Any]:
        """Return the entry of the JSON: n, and each metric by strength, None where it is undefined."""
        values = {"acc": self.acc, "auc": self.auc}
        shown = {key: [None if math.isnan(each) else each for each in of] for key, of in values.items()}
        return {"n": self.contributions.shape[1]} | shown


def run_corrupted(
    model: Mosaic,
    split: Split,
    dataset: Dataset,
    kind: str,
    *,
    config: Config,
    batch_size: int,
    strengths: Iterable[int] = range(1, STRENGTHS + 1),
) -> Stressed:
    """Score `model` on the test split of one dataset, corrupted by one kind at every strength.

    `strengths` are all of them, in order; what yields them may show how far it is.
    """
    labels = split.labels.cpu().numpy()
    acc, auc, cases = [], [], []
    for strength in strengths:
        corrupted = Corrupted(split, dataset, kind, strength)
        scores = predict(model, corrupted, dataset, config=config, batch_size=batch_size)
        acc.append(metrics.accuracy(dataset, labels, scores))
        auc.append(metrics.auc(dataset, labels, scores))
        cases.append(contributions(dataset, labels, scores).astype(np.float32))
    return Stressed(acc, auc, np.stack(cases))
