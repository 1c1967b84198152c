"""What is known of a method from a few trainings and one set of test cases."""

import math

import numpy as np
import pytest
from scipy import stats

from mosaic_pipeline.evaluation.inference import Estimate, contrast, covariance_of_means, wilson

NO_CASES = np.zeros((2, 3, 2, 3))


def _trainings(generator, count, cases, *, between=0.0, case=1.0, own=1.0):
    """Contributions [count, cases]: what cases have in common, what trainings shift, what is each answer's own."""
    common = case * generator.standard_normal(cases)
    shift = between * generator.standard_normal((count, 1))
    return common + shift + own * generator.standard_normal((count, cases))


def test_without_cases_the_difference_is_welch_s_t_test():
    values = np.array([[0.71, 0.73, 0.69], [0.64, 0.70, 0.60]])
    found = contrast(values, NO_CASES, (1, -1))
    expected = stats.ttest_ind(values[0], values[1], equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.freedom == pytest.approx(expected.df)
    interval = expected.confidence_interval(0.95)
    assert found.interval == pytest.approx((interval.low, interval.high))


def test_with_one_training_each_there_is_neither_interval_nor_p():
    found = contrast(np.array([[0.7], [0.1]]), np.full((2, 1, 2, 1), 0.01), (1, -1))
    assert not found.repeated
    assert found.interval is None
    assert math.isnan(found.p)
    assert math.isnan(found.p_above(-0.9))


def test_what_trainings_have_in_common_over_cases_stays_however_many_there_are():
    generator = np.random.default_rng(0)
    for count in (3, 30):
        rows = _trainings(generator, count, 4000)
        covariance = covariance_of_means(rows).reshape(1, count, 1, count)
        found = contrast(rows.mean(axis=1)[None], covariance, (1.0,))
        assert found.cases == pytest.approx(1 / math.sqrt(4000), rel=0.05)
    assert found.trainings == pytest.approx(1 / math.sqrt(30 * 4000), rel=0.4)


def test_of_two_methods_that_share_their_cases_difficulty_only_what_differs_counts():
    generator = np.random.default_rng(1)
    easy = generator.standard_normal(5000)
    rows = [easy + _trainings(generator, 3, 5000, case=each) for each in (0.0, 0.5)]
    covariance = covariance_of_means(np.concatenate(rows)).reshape(2, 3, 2, 3)
    values = np.array([each.mean(axis=1) for each in rows])
    assert contrast(values, covariance, (1, -1)).cases == pytest.approx(0.5 / math.sqrt(5000), rel=0.1)
    assert contrast(values, covariance, (1, 0)).cases == pytest.approx(1 / math.sqrt(5000), rel=0.1)


def test_trainings_that_come_out_equal_and_answer_differently_are_not_taken_for_the_same():
    # Twenty right answers of forty in each training, never the same twenty.
    generator = np.random.default_rng(2)
    rows = np.array([generator.permuted(np.arange(40) < 20) for _ in range(6)], dtype=float)
    covariance = covariance_of_means(rows).reshape(2, 3, 2, 3)
    values = rows.mean(axis=1).reshape(2, 3)
    assert np.ptp(values) == 0
    found = contrast(values + np.array([[0.05], [0.0]]), covariance, (1, -1))
    assert found.trainings > 0.04
    assert found.p > 0.3


def test_the_squares_of_both_reaches_add():
    found = Estimate(0.05, trainings=0.01, freedom=2.0, cases=0.02)
    reach = math.hypot(0.01 * stats.t.isf(0.025, 2), 0.02 * stats.norm.isf(0.025))
    assert found.interval == pytest.approx((0.05 - reach, 0.05 + reach))
    assert found.reach(found.p / 2) == pytest.approx(0.05)
    # The interval ends where p is 0.05.
    assert Estimate(reach, 0.01, 2.0, 0.02).p == pytest.approx(0.05)


def test_the_one_sided_p_goes_with_the_two_sided_one_and_with_the_interval():
    found = Estimate(0.01, 0.004, 4.0, 0.003)
    assert found.p_above(0.0) == pytest.approx(found.p / 2)
    low = found.interval[0]
    assert found.p_above(low) == pytest.approx(0.025)
    assert found.p_above(0.03) > 0.9
    assert found.p_above(0.01) == pytest.approx(0.5)


def test_nothing_is_shown_by_what_never_varies():
    found = Estimate(0.3, 0.0, math.inf, 1e-16)
    assert (found.interval, found.share_interval, found.p) == (None, None, 1.0)
    # Nor that it is above a bound, be it below or above.
    assert found.p_above(0.1) == found.p_above(0.9) == 1.0


def test_what_other_cases_would_do_being_unknown_nothing_is_shown():
    covariance = np.full((2, 3, 2, 3), np.nan)
    found = contrast(np.array([[0.9, 0.91, 0.92], [0.1, 0.11, 0.12]]), covariance, (1, -1))
    assert (found.interval, found.p, found.p_above(0.0)) == (None, 1.0, 1.0)
    assert contrast(np.array([[0.9], [0.1]]), covariance[:, :1, :, :1], (1, -1)).of_these_models.interval is None


def test_far_beyond_any_threshold_p_is_small_and_not_zero():
    assert 0 < Estimate(0.9, 1e-6, 4.0, 0.0).p < 1e-9


def test_an_interval_of_a_share_is_inside_0_and_1_and_longer_on_the_far_side():
    low, high = Estimate(0.95, 0.02, 2.0, 0.01).share_interval
    assert 0 < low < 0.95 < high < 1
    assert 0.95 - low > high - 0.95
    assert Estimate(1.0, 0.02, 2.0, 0.01).share_interval is None


@pytest.mark.parametrize(("right", "cases"), [(0, 10), (7, 10), (10, 10), (93, 96)])
def test_wilson_s_interval(right, cases):
    interval = stats.binomtest(right, cases).proportion_ci(0.95, method="wilson")
    assert wilson(right / cases, cases) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_wilson_holds_the_truth_where_a_fixed_class_mix_did_not():
    """Twenty cases of which each is right with one chance: other cases, drawn freely."""
    generator = np.random.default_rng(3)
    for chance in (0.5, 0.9):
        shares = generator.binomial(20, chance, 2000) / 20
        held = np.mean([low <= chance <= high for low, high in (wilson(share, 20) for share in shares)])
        assert held > 0.92


@pytest.mark.parametrize("common", [0.0, 0.5], ids=["one method", "methods that differ in cases, not on average"])
@pytest.mark.parametrize("trainings", [2, 3, 5])
def test_at_most_one_in_twenty_is_called_where_nothing_differs(trainings, common):
    generator = np.random.default_rng(trainings)
    called = 0
    for _ in range(400):
        easy = generator.standard_normal(200)
        rows = [easy + _trainings(generator, trainings, 200, between=0.05, case=common) for _ in range(2)]
        covariance = covariance_of_means(np.concatenate(rows)).reshape(2, trainings, 2, trainings)
        called += contrast(np.array([each.mean(axis=1) for each in rows]), covariance, (1, -1)).p < 0.05
    # 20 expected at most; 33 is what a true 5 % exceeds in one of a thousand.
    assert called <= 33


def test_a_clear_difference_is_called_with_five_trainings_each():
    generator = np.random.default_rng(4)
    rows = [_trainings(generator, 5, 2000, between=0.02) + shift for shift in (0.0, 0.2)]
    rows[1] += rows[0].mean(axis=0) - rows[1].mean(axis=0) + 0.2
    covariance = covariance_of_means(np.concatenate(rows)).reshape(2, 5, 2, 5)
    assert contrast(np.array([each.mean(axis=1) for each in rows]), covariance, (1, -1)).p < 0.001


def test_of_a_single_case_no_variance_is_claimed():
    assert not covariance_of_means(np.array([[1.0], [0.0]])).any()
