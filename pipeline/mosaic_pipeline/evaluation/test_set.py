"""The test of one model on one dataset: scores, metrics, what each case contributes, and a few cases to look at."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mosaic_pipeline.config import Config
from mosaic_pipeline.data.batches import Split
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.evaluation import metrics
from mosaic_pipeline.evaluation.calibration import reliability
from mosaic_pipeline.evaluation.contributions import contributions
from mosaic_pipeline.evaluation.predict import predict
from mosaic_pipeline.evaluation.samples import as_picture, choose_hardest, choose_samples
from mosaic_pipeline.evaluation.scalars import scalars
from mosaic_pipeline.evaluation.temperature import choose_temperature
from mosaic_pipeline.model.mosaic import Mosaic


@dataclass(frozen=True)
class Tested:
    """Probabilities float32 [N, C] and labels int64 [N, L] of one dataset, with a view on them for every reader.

    The rows `sample_index` and `hardest_index`, each int64 [<= 4], come with their pictures. `temperature` is that of
    the validation cases; the probabilities are those without it.
    """

    dataset: Dataset
    scores: np.ndarray
    labels: np.ndarray
    sample_index: np.ndarray
    sample_images: np.ndarray
    hardest_index: np.ndarray
    hardest_images: np.ndarray
    temperature: float

    def values(self) -> dict[str, float | None]:
        """Return every metric of the dataset's task by its key; None where undefined."""
        values = scalars(self.dataset, self.labels, self.scores, self.temperature)
        return {key: None if math.isnan(value) else value for key, value in values.items()}

    def record(self) -> dict[str, Any]:
        """Return the entry of the evaluation JSON: n, the metrics, confusion counts and bins of confidence."""
        arguments = (self.dataset, self.labels, self.scores)
        detail = {"confusion": metrics.confusion(*arguments).tolist(), "reliability": reliability(*arguments)}
        return {"n": len(self.labels)} | self.values() | detail

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the entries of the evaluation npz, named `<dataset>/<array>`."""
        names = ("scores", "labels", "sample_index", "sample_images", "hardest_index", "hardest_images")
        arrays = {name: getattr(self, name) for name in names}
        arrays["contributions"] = contributions(self.dataset, self.labels, self.scores).astype(np.float32)
        return {f"{self.dataset.name}/{name}": array for name, array in arrays.items()}

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


def run_test(
    model: Mosaic, split: Split, dataset: Dataset, *, validation: Split, config: Config, batch_size: int
) -> Tested:
    """Score `model` on the test split of one dataset, and on its validation split for the temperature."""
    scores, validated = (predict(model, s, dataset, config=config, batch_size=batch_size) for s in (split, validation))
    temperature = choose_temperature(dataset, validation.labels.cpu().numpy(), validated)
    labels = split.labels.cpu().numpy()
    samples, hardest = choose_samples(labels), choose_hardest(metrics.case_losses(dataset, labels, scores))
    pictures = [np.stack([as_picture(split.images[row], dataset) for row in rows]) for rows in (samples, hardest)]
    return Tested(dataset, scores, labels, samples, pictures[0], hardest, pictures[1], temperature)
