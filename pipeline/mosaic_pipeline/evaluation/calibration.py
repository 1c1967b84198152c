"""Whether a model is as often right as it is confident (Guo et al., On Calibration of Modern Neural Networks, 2017).

The confidence of a prediction is the probability that the model gives it. For multi-label every yes/no answer is a
prediction of its own, with confidence max(p, 1 - p).
"""

import numpy as np

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.evaluation.metrics import predictions

BINS = 15


def expected_calibration_error(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean over predictions of |accuracy - mean confidence| of the prediction's bin; nan when a score is nan."""
    confidence, right = _predictions(dataset, labels, scores)
    if np.isnan(confidence).any():
        return float("nan")
    _, confidences, rights = _bin_sums(confidence, right)
    return float(np.abs(rights - confidences).sum() / len(confidence))


def reliability(
    dataset: Dataset, labels: np.ndarray, scores: np.ndarray
) -> list[tuple[int, float | None, float | None]]:
    """Per bin of confidence, [0, 1/15], (1/15, 2/15], ...: predictions, their mean confidence and their accuracy.

    Both are None in an empty bin. A prediction whose score is nan is in no bin.
    """
    confidence, right = _predictions(dataset, labels, scores)
    known = ~np.isnan(confidence)
    bins = zip(*_bin_sums(confidence[known], right[known]), strict=True)
    return [(int(n), float(c / n), float(r / n)) if n else (0, None, None) for n, c, r in bins]


def _predictions(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confidence float64 and rightness bool of every prediction, each [N] or, for multi-label, [N x L]."""
    predicted, p = predictions(dataset, scores), scores.astype(np.float64)
    confidence = np.where(predicted == 1, p, 1 - p) if dataset.multi_label else np.take_along_axis(p, predicted, axis=1)
    return confidence.ravel(), (predicted == labels).ravel()


def _bin_sums(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each bin: number of predictions, sum of confidences and number of right predictions, each [BINS]."""
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    number = np.digitize(confidence, edges, right=True)
    return (
        np.bincount(number, minlength=BINS),
        np.bincount(number, confidence, minlength=BINS),
        np.bincount(number, right, minlength=BINS),
    )
