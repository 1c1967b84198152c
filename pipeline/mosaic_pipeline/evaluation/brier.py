"""The Brier score: calibration and discrimination in one number, 0 at best (Brier, Monthly Weather Review, 1950)."""

import numpy as np

from mosaic_pipeline.datasets import Dataset


def brier(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean over cases of the squared differences to the one-hot truth, summed over classes; nan when a score is nan.

    Brier's own definition, 0 to 2, for binary tasks too: over both columns, twice what is often given. For multi-label,
    whose labels are not exclusive, the mean over all yes/no labels of (p - truth)^2, 0 to 1.
    """
    p = scores.astype(np.float64)
    if dataset.multi_label:
        return float(((p - labels) ** 2).mean())
    return float(((p - (labels == np.arange(dataset.num_classes))) ** 2).sum(axis=1).mean())
