"""The stratified subset: which rows a limit keeps."""

import numpy as np
import pytest

from mosaic_pipeline.data.subset import stratified_subset


def column(*counts):
    """Labels [N,1] with the given number of rows per class, in class order."""
    return np.repeat(np.arange(len(counts)), counts)[:, None]


def kept_per_class(labels, limit):
    return np.bincount(labels[stratified_subset(labels, limit), 0], minlength=labels.max() + 1).tolist()


@pytest.mark.parametrize("limit", [None, 10, 11])
def test_without_a_limit_that_binds_all_rows_stay_in_order(limit):
    np.testing.assert_array_equal(stratified_subset(column(7, 3), limit), np.arange(10))


def test_class_proportions_are_kept():
    assert kept_per_class(column(600, 300, 100), 20) == [12, 6, 2]


def test_what_does_not_divide_goes_to_the_largest_remainders():
    # 10/100 of 46, 35, 19 is 4.6, 3.5, 1.9: the whole parts leave 2 rows, for the third and the first class.
    assert kept_per_class(column(46, 35, 19), 10) == [5, 3, 2]


@pytest.mark.parametrize("limit", range(1, 31))
def test_exactly_the_limit_is_kept_as_sorted_distinct_rows(limit):
    labels = np.random.default_rng(limit).permutation(column(20, 7, 2, 1))
    rows = stratified_subset(labels, limit)
    assert len(rows) == limit
    assert (np.diff(rows) > 0).all()
    assert rows[0] >= 0
    assert rows[-1] < 30


@pytest.mark.parametrize("limit", [3, 4, 10])
def test_a_rare_class_stays_when_the_limit_allows_one_row_of_each(limit):
    assert all(kept_per_class(column(998, 1, 1), limit))


def test_a_limit_below_the_number_of_classes_keeps_the_commonest():
    assert kept_per_class(column(1, 5, 4), 2) == [0, 1, 1]
    assert kept_per_class(column(5, 4, 1), 2) == [1, 1, 0]


def test_rows_are_spread_over_the_file_within_each_class():
    assert stratified_subset(column(8, 8), 4).tolist() == [2, 6, 10, 14]


def test_the_subset_is_the_one_worked_out_by_hand():
    # Shares of 5 among 6, 3 and 1 rows: 3.0, 1.5, 0.5 -> 3, 2, 0 -> 2, 2, 1, since the third class must stay.
    # Rows of class 0: 0 2 4 6 7 9, its middles 2 and 7; of class 1: 1 5 8, its middles 1 and 8.
    labels = np.array([0, 1, 0, 2, 0, 1, 0, 0, 1, 0])[:, None]
    assert stratified_subset(labels, 5).tolist() == [1, 2, 3, 7, 8]


def test_yes_no_labels_keep_the_shares_of_the_rarest_label_of_each_row():
    # 1000 rows: 100 with the common label alone, 50 with both, 10 with the rare one alone, and 840 with none.
    labels = np.zeros((1000, 2), int)
    labels[:150, 0] = 1
    labels[100:160, 1] = 1
    labels = np.random.default_rng(0).permutation(labels)
    kept = labels[stratified_subset(labels, 100)]
    assert len(kept) == 100
    assert (kept[:, 1] == 1).sum() == 6
    assert (kept == [1, 0]).all(axis=1).sum() == 10
    assert (kept == [0, 0]).all(axis=1).sum() == 84


def test_each_yes_no_label_stays_when_it_is_the_rarest_of_some_row():
    labels = np.zeros((500, 3), int)
    labels[:300, 0] = 1
    labels[7, 1] = labels[400, 2] = 1
    assert labels[stratified_subset(labels, 5)].any(axis=0).all()
