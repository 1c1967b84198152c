"""Mean average precision of multi-label tasks, where AUC is high however few of the findings are true."""

import numpy as np

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.evaluation.metrics import by_threshold, roc_columns


def mean_average_precision(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean average precision over labels, for labels 0/1 int64 [N, L] and scores [N, L].

    nan when a label has no positive case (as its ROC curve is undefined then) or a nan among its scores.
    """
    columns = zip(*(column.T for column in roc_columns(dataset, labels, scores)), strict=True)
    return float(np.mean([_average_precision(positive, score) for positive, score in columns]))


def _average_precision(positive: np.ndarray, scores: np.ndarray) -> float:
    """Precision at each threshold, weighted by the recall that the threshold adds; equal scores share one."""
    if not positive.any() or np.isnan(scores).any():
        return float("nan")
    hits, cases = by_threshold(positive, scores)
    return float((np.diff(hits, prepend=0) * hits / cases).sum() / hits[-1])
