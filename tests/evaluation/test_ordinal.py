import math
import warnings

import numpy as np
import pytest

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation.ordinal import accuracy_within_one, mean_absolute_error, quadratic_kappa

RETINA = MEDMNIST["retinamnist"]


def graded(truth: list[int], predicted: list[int]):
    return RETINA, np.array(truth)[:, None], np.eye(5, dtype=np.float32)[predicted]


def test_quadratic_kappa_by_hand():
    # Squared distances 0, 1, 0, 4 sum to 5; each truth against all four predictions 9 + 9 + 5 + 33 = 56, over 4 cases.
    assert quadratic_kappa(*graded([0, 0, 2, 4], [0, 1, 2, 2])) == pytest.approx(1 - 5 / (56 / 4))


def test_quadratic_kappa_is_that_of_scikit_learn_also_when_a_grade_in_between_never_occurs():
    kappa = pytest.importorskip("sklearn.metrics").cohen_kappa_score
    truth, noise = np.random.default_rng(4).integers(0, 5, (2, 100))
    for first in (truth, np.where(truth == 2, 0, truth)):
        second = np.where(noise == 0, 4 - first, first)
        expected = kappa(first, second, labels=range(5), weights="quadratic")
        assert quadratic_kappa(*graded(first, second)) == pytest.approx(expected, abs=1e-12)


def test_quadratic_kappa_is_one_for_the_truth_none_for_a_constant_and_undefined_for_a_single_grade():
    assert quadratic_kappa(*graded([0, 1, 4], [0, 1, 4])) == 1
    assert quadratic_kappa(*graded([0, 1, 4], [2, 2, 2])) == pytest.approx(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(quadratic_kappa(*graded([3, 3], [3, 3])))


def test_distances_by_hand():
    cases = graded([0, 1, 2, 4, 4], [0, 2, 0, 0, 3])
    assert mean_absolute_error(*cases) == pytest.approx((0 + 1 + 2 + 4 + 1) / 5)
    assert accuracy_within_one(*cases) == pytest.approx(3 / 5)
