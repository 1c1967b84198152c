"""What each test case contributes to ACC and AUC: how far either could differ with other cases, drawn alike.

A contribution is a number for each case whose mean over cases is the metric, and whose covariance between two models
over the number of cases is the covariance of their metrics. Of ACC it is the share of right answers to the case. Of AUC
it is what DeLong, DeLong and Clarke-Pearson (Biometrics 1988) compare correlated curves by, summed over the columns
that a macro average takes the mean of.
"""

import numpy as np

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.evaluation.metrics import predictions, roc_columns
from mosaic_pipeline.evaluation.ranks import midranks


def contributions(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the contributions to ACC and to AUC, float64 [N, 2], for labels int64 [N, L] and scores [N, C].

    Those to AUC are nan throughout where it is undefined, and where a class or its opposite has a single case: how such
    cases vary is then unknown.
    """
    right = (predictions(dataset, scores) == labels).mean(axis=1)
    columns = zip(*(column.T for column in roc_columns(dataset, labels, scores)), strict=True)
    area = np.mean([_area_contributions(*column) for column in columns], axis=0)
    return np.stack([right, area], axis=1)


def _area_contributions(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Contributions [N] to the area under one curve: of a positive case the share of negatives below it, and so on."""
    cases, positives = len(positive), int(positive.sum())
    negatives = cases - positives
    if min(positives, negatives) < 2:
        return np.full(cases, np.nan)
    above = midranks(scores)
    placed = np.empty(cases)
    placed[positive] = (above[positive] - midranks(scores[positive])) / negatives
    placed[~positive] = 1 - (above[~positive] - midranks(scores[~positive])) / positives
    area = placed[positive].mean()
    weight = np.where(positive, _weight(positives), _weight(negatives))
    return area + cases * weight * (placed - area)


def _weight(cases: int) -> float:
    """Weight of a case among its like that makes squares sum up to an unbiased variance."""
    return 1 / np.sqrt(cases * (cases - 1))
