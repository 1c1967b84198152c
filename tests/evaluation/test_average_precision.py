import math

import numpy as np
import pytest

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation.average_precision import mean_average_precision

CHEST = MEDMNIST["chestmnist"]


def repeated(labels: list[int], scores: list[float]):
    return CHEST, np.repeat(np.array(labels)[:, None], 14, axis=1), np.repeat(np.array(scores)[:, None], 14, axis=1)


def test_average_precision_by_hand():
    # The positives are first and third from the top: precisions 1 and 2/3, half the recall each.
    assert mean_average_precision(*repeated([0, 1, 1, 0], [0.5, 0.4, 0.9, 0.1])) == pytest.approx((1 + 2 / 3) / 2)


def test_equal_scores_share_one_threshold_whatever_the_order_of_the_cases():
    for labels in ([1, 0, 0, 1], [0, 1, 1, 0]):
        assert mean_average_precision(*repeated(labels, [0.5] * 4)) == pytest.approx(0.5)


@pytest.mark.parametrize("ties", [False, True])
def test_it_is_that_of_scikit_learn(ties):
    average_precision_score = pytest.importorskip("sklearn.metrics").average_precision_score
    generator = np.random.default_rng(9)
    scores = generator.random((150, 14))
    labels = (generator.random((150, 14)) < 0.4 * scores).astype(np.int64)
    scores = scores.round(1) if ties else scores
    expected = average_precision_score(labels, scores, average="macro")
    assert mean_average_precision(CHEST, labels, scores) == pytest.approx(expected, abs=1e-12)


@pytest.mark.filterwarnings("error")
def test_it_is_undefined_when_a_label_has_no_case_or_a_score_is_nan():
    dataset, labels, scores = repeated([0, 1, 1, 0], [0.5, 0.4, 0.9, 0.1])
    labels[:, 3] = 0
    assert math.isnan(mean_average_precision(dataset, labels, scores))
    assert math.isnan(mean_average_precision(*repeated([0, 1, 1, 0], [0.5, 0.4, 0.9, math.nan])))
