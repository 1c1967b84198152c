import numpy as np
import pytest

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation.brier import brier

BINARY, CHEST, BLOOD = MEDMNIST["breastmnist"], MEDMNIST["chestmnist"], MEDMNIST["bloodmnist"]


def test_the_score_by_hand():
    labels, scores = np.array([[0], [2]]), np.zeros((2, 8), np.float32)
    scores[0, :2] = 0.5
    scores[1, 2] = 1
    assert brier(BLOOD, labels, scores) == (0.25 + 0.25) / 2


def test_binary_counts_both_columns():
    p, labels = np.array([0.9, 0.2, 0.4]), np.array([[1], [0], [1]])
    assert brier(BINARY, labels, np.stack([1 - p, p], axis=1)) == pytest.approx(2 * (0.01 + 0.04 + 0.36) / 3)


def test_multi_label_is_the_mean_over_labels_each_a_yes_or_no():
    generator = np.random.default_rng(0)
    p, labels = generator.random((50, 14)), generator.integers(0, 2, (50, 14))
    missed = [1 - score if truth else score for truth, score in zip(labels.flat, p.flat, strict=True)]
    assert brier(CHEST, labels, p) == pytest.approx(sum(m * m for m in missed) / 700)
