"""The test of one model on one dataset: scores, official metrics and a few cases to look at."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import Config
from pipeline.data.batches import Split
from pipeline.datasets import Dataset
from pipeline.evaluation import metrics
from pipeline.evaluation.predict import predict
from pipeline.evaluation.samples import as_picture, choose_samples
from pipeline.model.mosaic import Mosaic


@dataclass(frozen=True)
class Tested:
    """Probabilities float32 [N, C] and labels int64 [N, L] of one dataset, with a view on them for every reader."""

    dataset: Dataset
    scores: np.ndarray
    labels: np.ndarray
    sample_index: np.ndarray
    sample_images: np.ndarray

    def record(self) -> dict[str, Any]:
        """Return the entry of the evaluation JSON: n, acc, auc, loss and confusion counts; null where undefined."""
        arguments = (self.dataset, self.labels, self.scores)
        values = {
            "acc": metrics.accuracy(*arguments),
            "auc": metrics.auc(*arguments),
            "loss": metrics.negative_log_likelihood(*arguments),
        }
        defined = {name: None if math.isnan(value) else value for name, value in values.items()}
        return {"n": len(self.labels)} | defined | {"confusion": metrics.confusion(*arguments).tolist()}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the entries of the evaluation npz, named `<dataset>/<array>`."""
        names = ("scores", "labels", "sample_index", "sample_images")
        return {f"{self.dataset.name}/{name}": getattr(self, name) for name in names}

    def roc(self) -> pd.DataFrame:
        """Return the macro-averaged ROC curve with columns dataset, fpr, tpr."""
        tpr = metrics.macro_roc(self.dataset, self.labels, self.scores)
        fpr = np.linspace(0, 1, len(tpr))
        return pd.DataFrame({"dataset": self.dataset.name, "fpr": fpr.round(4), "tpr": tpr.round(4)})

    def predictions(self) -> pd.DataFrame:
        """Return actual and predicted class per case, named `<dataset> <class>`; none for multi-label tasks."""
        if self.dataset.multi_label:
            return pd.DataFrame()
        predicted = metrics.predictions(self.dataset, self.scores)[:, 0]
        name = self.dataset.name
        return pd.DataFrame(
            {
                "dataset": name,
                "actual": [f"{name} {label}" for label in self.labels[:, 0]],
                "predicted": [f"{name} {label}" for label in predicted],
            }
        )


def run_test(model: Mosaic, split: Split, dataset: Dataset, *, config: Config, batch_size: int) -> Tested:
    """Score `model` on the test split of one dataset."""
    scores = predict(model, split, dataset, config=config, batch_size=batch_size)
    labels = split.labels.cpu().numpy()
    rows = choose_samples(labels)
    pictures = np.stack([as_picture(split.images[row], dataset) for row in rows])
    return Tested(dataset, scores, labels, rows, pictures)
