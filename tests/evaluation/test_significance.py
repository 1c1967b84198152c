import itertools
import math
import warnings

import numpy as np
import pytest
from scipy import stats

from mosaic_pipeline.evaluation.significance import (
    group_first,
    holm,
    planned_first,
    rank_direction,
    sign_test,
    signed_rank,
)

ABOUT = [0.81, 0.79, 0.85, 0.8, 0.83, 0.77]


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


def test_the_signed_rank_test_without_ties_is_scipys_exact_one():
    differences = np.array([0.5, -0.1, 0.9, 0.3, 0.7, 0.2, 0.4])
    # The negative rank is 1: two of 2^7 sign patterns are as extreme on one side (none negative, or the least alone).
    assert signed_rank(differences) == pytest.approx(2 * 2 / 2**7)
    assert signed_rank(-differences) == signed_rank(differences) == pytest.approx(stats.wilcoxon(differences).pvalue)


def test_the_signed_rank_test_with_ties_is_the_exact_one_over_all_signs():
    generator = np.random.default_rng(5)
    for _ in range(30):
        differences = generator.integers(-3, 4, 9) / 8
        ranks = stats.rankdata(np.abs(differences[differences != 0]))
        sums = np.array([np.array(signs) @ ranks for signs in itertools.product((0, 1), repeat=len(ranks))])
        found = ranks[differences[differences != 0] > 0].sum()
        tail = min((sums <= found).mean(), (sums >= found).mean())
        assert signed_rank(differences) == pytest.approx(min(1, 2 * tail))


def test_no_difference_on_any_dataset_is_no_evidence_and_no_dataset_no_answer():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert signed_rank(np.zeros(8)) == 1
        assert math.isnan(signed_rank(np.array([])))
        assert math.isnan(signed_rank(np.array([0.1, np.nan])))


def test_fewer_than_six_datasets_cannot_show_a_difference():
    assert signed_rank(np.array(ABOUT[:5])) > 0.05
    assert signed_rank(np.array(ABOUT)) < 0.05


def test_the_direction_is_that_of_the_rank_sum_and_not_of_the_mean():
    assert rank_direction(np.array([0.25, -0.01, -0.02, -0.03])) == -1
    assert rank_direction(np.array([-0.25, 0.01, 0.02, 0.03])) == 1
    assert rank_direction(np.array([0.1, -0.1, 0])) == rank_direction(np.zeros(3)) == 0


def test_the_sign_test_counts_the_cases_that_differ():
    assert sign_test(np.array([1, 1, 1, 1, 1, -1, 0, 0])) == pytest.approx(2 * 7 / 2**6)
    assert sign_test(np.zeros(9)) == 1


def test_the_planned_comparison_has_half_the_level_and_leaves_it_when_it_is_called():
    # Called at 0.04: the others then share all of it by Holm.
    assert planned_first([0.02, 0.01, 0.03], 0) == pytest.approx([0.04, 0.04, 0.04])
    # Not called at any level below 0.6: the others share half, twice what Holm gives them, and above it all.
    assert planned_first([0.01, 0.3, 0.9], 1) == pytest.approx([0.04, 0.6, 0.9])
    assert planned_first([0.3], 0) == [0.3]
    assert planned_first([0.03, 0.04], None) == holm([0.03, 0.04])
    assert math.isnan(planned_first([math.nan, 0.01], 0)[0])


def test_the_adjusted_p_is_the_level_from_which_on_the_procedure_rejects():
    """The graph by hand: half the level each; whoever is done gives its half to the other side."""
    generator = np.random.default_rng(6)
    for _ in range(20):
        p = generator.random(4) ** 3
        adjusted = planned_first(p, 0)
        for level in np.linspace(0.01, 0.99, 50):
            share, explored, planned = level / 2, sorted(p[1:]), False
            for _ in range(2):
                planned = planned or p[0] <= (level / 2 if explored else level)
                share = level if planned else level / 2
                while explored and explored[0] * len(explored) <= share:
                    explored.pop(0)
            assert [each <= level for each in adjusted] == [planned, *(each not in explored for each in p[1:])]


def test_at_most_one_in_twenty_families_calls_anything_where_nothing_differs():
    generator = np.random.default_rng(7)
    families = generator.random((4000, 4))
    called = np.mean([min(planned_first(p, 0)) < 0.05 for p in families])
    assert 0.03 < called < 0.06


def test_a_group_has_the_other_ones_half_of_the_level_once_all_of_that_is_called():
    assert group_first([0.02, 0.001, 0.9], [True, True, False]) == pytest.approx([0.04, 0.004, 0.9])
    assert group_first([0.02, 0.012, 0.01], [False, True, True]) == pytest.approx([0.04, 0.04, 0.04])
    assert group_first([0.03, 0.04], [True, True]) == group_first([0.03, 0.04], [False, False]) == holm([0.03, 0.04])
    adjusted = group_first([math.nan, 0.01, 0.02, math.nan], [True, True, False, False])
    assert adjusted[1:3] == pytest.approx([0.02, 0.02])
    assert math.isnan(adjusted[0])
    assert math.isnan(adjusted[3])


def test_however_much_is_explored_a_planned_claims_p_is_doubled_at_most_and_the_family_keeps_its_level():
    generator = np.random.default_rng(2)
    called = 0
    for _ in range(2000):
        planned, explored = generator.random(3), generator.random(40)
        explored[:10] = 0  # differences that are there
        adjusted = group_first([*explored, *planned], [False] * 40 + [True] * 3)
        assert (np.array(adjusted[40:]) <= 2 * np.array(holm(planned)) + 1e-12).all()
        called += min(adjusted[10:]) < 0.05
    assert called / 2000 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)
