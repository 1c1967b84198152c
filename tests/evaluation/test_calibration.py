import numpy as np
import pytest

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation.calibration import expected_calibration_error, reliability

BINARY, CHEST, PATH = MEDMNIST["breastmnist"], MEDMNIST["chestmnist"], MEDMNIST["pathmnist"]


def binary(p: list[float]) -> np.ndarray:
    return np.stack([1 - np.array(p), p], axis=1)


def test_the_bins_and_the_error_by_hand():
    # Confidences 0.9, 0.92 (bin 13, one of them right), 0.65 (bin 9, right) and 0.7 (bin 10, wrong).
    labels = np.array([1, 1, 0, 0])[:, None]
    scores = binary([0.9, 0.08, 0.35, 0.7])
    bins = reliability(BINARY, labels, scores)
    assert {number: entry for number, entry in enumerate(bins) if entry[0]} == {
        9: (1, pytest.approx(0.65), 1),
        10: (1, pytest.approx(0.7), 0),
        13: (2, pytest.approx(0.91), 0.5),
    }
    assert bins[0] == (0, None, None)
    assert len(bins) == 15
    assert expected_calibration_error(BINARY, labels, scores) == pytest.approx((2 * 0.41 + 0.35 + 0.7) / 4)


def test_a_bin_holds_its_upper_edge_and_the_last_one_certainty():
    labels = np.zeros((3, 1), dtype=np.int64)
    bins = reliability(BINARY, labels, binary([0.0, 0.2, 0.4]))  # confidences 1, 12/15 and 9/15
    assert [number for number, entry in enumerate(bins) if entry[0]] == [8, 11, 14]


def test_the_confidence_is_that_of_the_predicted_class():
    scores = np.full((1, 9), 0.05)
    scores[0, 4] = 0.6
    assert expected_calibration_error(PATH, np.array([[4]]), scores) == pytest.approx(0.4)
    assert expected_calibration_error(PATH, np.array([[3]]), scores) == pytest.approx(0.6)


def test_every_yes_or_no_of_a_multi_label_case_is_a_prediction():
    labels, scores = np.zeros((2, 14), dtype=np.int64), np.full((2, 14), 0.1)
    labels[0, 0] = 1  # a missed finding
    bins = reliability(CHEST, labels, scores)
    assert bins[13] == (28, pytest.approx(0.9), pytest.approx(27 / 28))
    assert expected_calibration_error(CHEST, labels, scores) == pytest.approx(27 / 28 - 0.9)


def test_scores_that_are_the_true_probabilities_have_almost_no_error():
    generator = np.random.default_rng(2)
    p = generator.random(200_000)
    labels = (generator.random(200_000) < p)[:, None].astype(np.int64)
    assert expected_calibration_error(BINARY, labels, binary(p)) < 0.005
    assert expected_calibration_error(BINARY, labels, binary(p**4)) > 0.1


def test_the_error_is_the_weighted_gap_of_the_bins_that_are_shown():
    generator = np.random.default_rng(2)
    scores = generator.dirichlet(np.ones(9), 500)
    labels = generator.integers(0, 9, (500, 1))
    gaps = [n * abs(accuracy - confidence) for n, confidence, accuracy in reliability(PATH, labels, scores) if n]
    assert expected_calibration_error(PATH, labels, scores) == pytest.approx(sum(gaps) / 500)
