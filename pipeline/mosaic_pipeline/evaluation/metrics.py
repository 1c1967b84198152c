"""MedMNIST's official metrics, and what the report adds to them.

ACC and AUC follow `medmnist.evaluator.getACC` and `getAUC` for every task (a test compares them); all functions take
labels int64 [N, L] and scores float [N, C], the probabilities of softmax or, for multi-label, of sigmoid.
"""

import numpy as np

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.evaluation.ranks import midranks

THRESHOLD = 0.5
# The smallest probability that a log-likelihood sees: float32 scores can be exactly 0 or 1.
SMALLEST = 1e-7


def accuracy(dataset: Dataset, labels: np.ndarray, scores: np.ndarray, grade_tolerance: int = 0) -> float:
    """Share of right predictions; for multi-label the mean over labels.

    RetinaMNIST, whose classes are grades, counts exact ones only, unless a `grade_tolerance` says how far off is right.
    """
    off = np.abs(predictions(dataset, scores) - labels)
    return float((off <= (grade_tolerance if dataset.task == "ordinal-regression" else 0)).mean())


def auc(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: of the last column (binary), else the mean over one-against-rest columns.

    nan when a column's class is absent from `labels` or fills them: the curve is then undefined.
    """
    return float(np.mean(_column_aucs(*roc_columns(dataset, labels, scores))))


def negative_log_likelihood(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean -log p of the truth, in nats; for multi-label the mean over all yes/no labels."""
    return float(case_losses(dataset, labels, scores).mean())


def case_losses(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """-log p of the truth of each case, in nats [N]; for multi-label the mean over the case's yes/no labels."""
    p = np.clip(scores.astype(np.float64), SMALLEST, 1 - SMALLEST)
    if dataset.multi_label:
        return -np.where(labels == 1, np.log(p), np.log1p(-p)).mean(axis=1)
    return -np.log(np.take_along_axis(p, labels, axis=1))[:, 0]


def confusion(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Counts [C, C], actual by predicted; for multi-label one [2, 2] per label, [C, 2, 2]."""
    predicted = predictions(dataset, scores)
    if dataset.multi_label:
        by_label = np.zeros((dataset.num_classes, 2, 2), dtype=np.int64)
        column = np.broadcast_to(np.arange(dataset.num_classes), labels.shape)
        np.add.at(by_label, (column, labels, predicted), 1)
        return by_label
    counts = np.zeros((dataset.num_classes,) * 2, dtype=np.int64)
    np.add.at(counts, (labels[:, 0], predicted[:, 0]), 1)
    return counts


def predictions(dataset: Dataset, scores: np.ndarray) -> np.ndarray:
    """Predicted labels int64 [N, L]: the largest score, or each score above one half for yes/no tasks."""
    if dataset.multi_label:
        return (scores > THRESHOLD).astype(np.int64)
    if dataset.task == "binary-class":
        return (scores[:, -1:] > THRESHOLD).astype(np.int64)
    return scores.argmax(axis=1)[:, None]


def roc_columns(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth as booleans and the scores that AUC compares with it, each [N, columns].

    One column for each yes/no label, for a binary task that of the second class, else one against rest per class.
    """
    if dataset.multi_label:
        return labels == 1, scores
    if dataset.task == "binary-class":
        return labels == 1, scores[:, -1:]
    return labels == np.arange(dataset.num_classes), scores


def by_threshold(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count positive cases and all cases at or above each score that occurs, the highest first.

    A threshold between equal scores does not exist: they share one.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    return np.cumsum(positive[order])[last_of_tie], np.flatnonzero(last_of_tie) + 1


def macro_roc(dataset: Dataset, labels: np.ndarray, scores: np.ndarray, points: int = 101) -> np.ndarray:
    """ROC averaged over the columns that AUC averages: true positive rate [points] at even false positive rates.

    Columns whose curve is undefined are left out; nan throughout when all are.
    """
    grid = np.linspace(0, 1, points)
    curves = []
    for positive, score in zip(*(columns.T for columns in roc_columns(dataset, labels, scores)), strict=True):
        if positive.all() or not positive.any():
            continue
        hits, cases = by_threshold(positive, score)
        tpr = np.concatenate([[0], hits / positive.sum()])
        fpr = np.concatenate([[0], (cases - hits) / (~positive).sum()])
        curves.append(np.interp(grid, fpr, tpr))
    return np.mean(curves, axis=0) if curves else np.full(points, np.nan)


def _column_aucs(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """AUC of each column by the rank-sum identity, ties counted half."""
    count = positive.sum(axis=0)
    rest = len(positive) - count
    ranks = np.where(positive, np.apply_along_axis(midranks, 0, scores), 0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (ranks - count * (count + 1) / 2) / (count * rest)
