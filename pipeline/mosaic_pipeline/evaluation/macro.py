"""Metrics in which a rare class weighs as much as a common one."""

import numpy as np

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.evaluation.metrics import confusion
from mosaic_pipeline.evaluation.undefined import mean_of_defined, ratio


def balanced_accuracy(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean recall over the classes that have cases; for multi-label the mean over labels of that over yes and no."""
    recall = ratio(*_hits_and_cases(confusion(dataset, labels, scores)))
    return float(mean_of_defined(recall, axis=-1).mean())


def macro_f1(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean F1 over classes; for multi-label the mean over labels of the F1 of "yes".

    A class with neither cases nor predictions has no F1 and is left out, as in scikit-learn's `f1_score`
    (for multi-label its `zero_division=nan`); nan when that leaves none.
    """
    counts = confusion(dataset, labels, scores)
    hits, cases = _hits_and_cases(counts)
    f1 = ratio(2 * hits, cases + counts.sum(axis=-2))
    return float(mean_of_defined(f1[:, 1] if dataset.multi_label else f1, axis=0))


def _hits_and_cases(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Right predictions and cases of each class, [..., C], of actual by predicted counts [..., C, C]."""
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1)
