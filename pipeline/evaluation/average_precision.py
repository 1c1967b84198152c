"""Mean average precision of multi-label tasks, where AUC is high however few of the findings are true."""

import numpy as np

from pipeline.datasets import Dataset
from pipeline.evaluation.metrics import roc_columns


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
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(positive[order])[last_of_tie]
    precision = hits / (np.flatnonzero(last_of_tie) + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])
