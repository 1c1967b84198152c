import math
import warnings

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation.significance import holm, interval, share_interval, wilcoxon

ABOUT = [0.81, 0.79, 0.85, 0.8, 0.83, 0.77]


def test_the_interval_leaves_a_fortieth_at_either_end():
    assert interval(np.arange(1001.0)[::-1]) == pytest.approx((25, 975))


def test_an_undefined_replicate_leaves_no_interval():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(interval(np.array([0.5, np.nan, 0.7]))).all()
        assert np.isnan(share_interval(0.6, np.array([0.5, np.nan, 0.7]))).all()
        assert np.isnan(share_interval(math.nan, np.array([0.5, 0.6, 0.7]))).all()


def test_the_interval_of_a_share_by_hand():
    # Values 0.7 and 0.9 about 0.8: deviation 0.1, on the logit scale 0.1 / (0.8 * 0.2) = 0.625.
    low, high = share_interval(0.8, np.array([0.7, 0.9]))
    odds = [4 * math.exp(sign * 1.959964 * 0.625) for sign in (-1, 1)]
    assert (low, high) == pytest.approx([odd / (1 + odd) for odd in odds], rel=1e-6)


def test_the_interval_of_a_share_stays_between_none_and_all():
    low, high = share_interval(0.99, np.array([0.9, 1.0, 1.0, 1.0]))
    assert 0 < low < 0.99 < high < 1
    assert share_interval(1.0, np.ones(5)) == (1, 1)


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, and 0.04 raised to 0.06 before it.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.7, 0.9]) == [1, 1]
    assert holm([]) == []


def test_an_undefined_p_value_stays_so_and_counts_as_no_comparison():
    adjusted = holm([math.nan, 0.02, 0.03])
    assert math.isnan(adjusted[0])
    assert adjusted[1:] == pytest.approx([0.04, 0.04])


def test_holms_adjusted_p_is_the_level_from_which_on_the_step_down_procedure_rejects():
    p = np.random.default_rng(3).random(9) ** 3
    for level in np.linspace(0.001, 0.999, 400):
        left = sorted(p)
        while left and left[0] * len(left) <= level:
            left.pop(0)
        assert [adjusted <= level for adjusted in holm(p)] == [value not in left for value in p]


def test_wilcoxon_is_scipys_exact_two_sided_test():
    differences = np.array([0.5, -0.1, 0.9, 0.3, 0.7, 0.2, 0.4])
    # The negative rank is 1: two of 2^7 sign patterns are as extreme on one side (none negative, or the least alone).
    assert wilcoxon(differences) == pytest.approx(2 * 2 / 2**7)
    assert wilcoxon(-differences) == wilcoxon(differences) == stats.wilcoxon(differences).pvalue


def test_no_difference_on_any_dataset_is_no_evidence_and_no_dataset_no_answer():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert wilcoxon(np.zeros(8)) == 1
        assert math.isnan(wilcoxon(np.array([])))
        assert math.isnan(wilcoxon(np.array([0.1, np.nan])))


def test_fewer_than_six_datasets_cannot_show_a_difference():
    assert wilcoxon(np.array(ABOUT[:5])) > 0.05
    assert wilcoxon(np.array(ABOUT)) < 0.05
