"""Metrics of graded diseases: how far a predicted grade is from the true one (RetinaMNIST)."""

import numpy as np

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.evaluation.metrics import accuracy, confusion, predictions


def quadratic_kappa(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> float:
    """Cohen's kappa with squared grade distances as weights: 1 is perfect, 0 what the two frequencies give by chance.

    nan when truth and predictions are all of one and the same grade: nothing then could disagree.
    """
    counts = confusion(dataset, labels, scores)
    grades = np.arange(dataset.num_classes)
    distance = (grades[:, None] - grades) ** 2
    by_chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / len(labels)
    expected = (distance * by_chance).sum()
    return float(1 - (distance * counts).sum() / expected) if expected else float("nan")


def mean_absolute_error(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean distance of the predicted from the true grade, in grades."""
    return float(np.abs(predictions(dataset, scores) - labels).mean())


def accuracy_within_one(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> float:
    """Share of predictions at most one grade off, which MOSAIC's released code reports as RetinaMNIST's accuracy."""
    return accuracy(dataset, labels, scores, grade_tolerance=1)
