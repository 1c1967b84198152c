"""What a dataset that was not trained on makes of a trained model: a head of its own on frozen features, tested."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mosaic_pipeline.config import Config
from mosaic_pipeline.data.batches import Split
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.evaluation import metrics
from mosaic_pipeline.evaluation.contributions import contributions
from mosaic_pipeline.evaluation.features import Way, along, features
from mosaic_pipeline.evaluation.head import Head, Labelled, fit_head
from mosaic_pipeline.model.mosaic import Mosaic


@dataclass(frozen=True)
class Transferred:
    """The test of a head on the features of one way: probabilities float32 [N, C] and labels int64 [N, L]."""

    dataset: Dataset
    way: Way
    head: Head
    scores: np.ndarray
    labels: np.ndarray

    def record(self) -> dict[str, Any]:
        """Return the entry of the JSON: the way, how the head was chosen, and its test; None for what is undefined."""
        arguments = (self.dataset, self.labels, self.scores)
        values = {
            "penalty": self.head.penalty,
            "val_score": self.head.score,
            "val_acc": self.head.acc,
            "val_auc": self.head.auc,
            "acc": metrics.accuracy(*arguments),
            "auc": metrics.auc(*arguments),
        }
        return self.way.record() | {key: None if math.isnan(value) else value for key, value in values.items()}

    def contributions(self) -> np.ndarray:
        """Return what each test case contributes to ACC and AUC, float32 [N, 2]."""
        return contributions(self.dataset, self.labels, self.scores).astype(np.float32)


def run_transfer(
    model: Mosaic,
    splits: Mapping[str, Split],
    dataset: Dataset,
    way: Way,
    *,
    config: Config,
    batch_size: int,
    monitored: tuple[str, ...],
) -> Transferred:
    """Fit a head to the training split's features along a way through `model`, and test it on those of the test split.

    Nothing of the model changes. `monitored` are the metrics of validation (acc, auc) by which the head is chosen.
    """
    view = along(model, dataset, way)
    seen = {
        name: Labelled(features(view, split, dataset, config=config, batch_size=batch_size), split.labels.cpu().numpy())
        for name, split in splits.items()
    }
    head = fit_head(dataset, seen["train"], seen["val"], monitored)
    return Transferred(dataset, way, head, head.probabilities(seen["test"].features), seen["test"].labels)


def constant_accuracy(dataset: Dataset, labels: np.ndarray) -> float:
    """Return the accuracy of the best constant answer to labels int64 [N, L]; of each label where there are several."""
    if dataset.multi_label:
        return float(np.maximum(labels.mean(axis=0), 1 - labels.mean(axis=0)).mean())
    return float(np.bincount(labels[:, 0]).max() / len(labels))
