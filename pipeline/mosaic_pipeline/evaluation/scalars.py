"""Which numbers sum up a test, by the keys that they have in the evaluation JSON and in MLflow."""

from collections.abc import Callable

import numpy as np

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.evaluation import metrics
from mosaic_pipeline.evaluation.average_precision import mean_average_precision
from mosaic_pipeline.evaluation.brier import brier
from mosaic_pipeline.evaluation.calibration import expected_calibration_error
from mosaic_pipeline.evaluation.macro import balanced_accuracy, macro_f1
from mosaic_pipeline.evaluation.ordinal import accuracy_within_one, mean_absolute_error, quadratic_kappa
from mosaic_pipeline.evaluation.temperature import at_temperature

Metric = Callable[[Dataset, np.ndarray, np.ndarray], float]

_EVERY: dict[str, Metric] = {
    "acc": metrics.accuracy,
    "auc": metrics.auc,
    "loss": metrics.negative_log_likelihood,
    "balanced_acc": balanced_accuracy,
    "macro_f1": macro_f1,
    "ece": expected_calibration_error,
    "brier": brier,
}
_ORDINAL: dict[str, Metric] = {
    "quadratic_kappa": quadratic_kappa,
    "mae": mean_absolute_error,
    "acc_within_one": accuracy_within_one,
}
_MULTI_LABEL: dict[str, Metric] = {"map": mean_average_precision}
# What a temperature changes; ACC it cannot, and AUC is left as it is: across cases softmax may order scores anew.
_SCALED = ("loss", "ece", "brier")


def scalars(dataset: Dataset, labels: np.ndarray, scores: np.ndarray, temperature: float) -> dict[str, float]:
    """Return every metric of this dataset's task, nan where undefined; labels int64 [N, L], scores float32 [N, C].

    Those of calibration stand there a second time, `_scaled`, for the scores at `temperature`.
    """
    chosen = dict(_EVERY)
    if dataset.task == "ordinal-regression":
        chosen |= _ORDINAL
    if dataset.multi_label:
        chosen |= _MULTI_LABEL
    values = {name: metric(dataset, labels, scores) for name, metric in chosen.items()}
    scaled = at_temperature(dataset, scores, temperature)
    values |= {f"{name}_scaled": _EVERY[name](dataset, labels, scaled) for name in _SCALED}
    return values | {"temperature": temperature}
