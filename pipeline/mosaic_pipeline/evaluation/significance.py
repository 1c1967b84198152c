"""Tests over datasets and over cases, and corrections for many of them.

The signed-rank test asks whether a difference holds over datasets (Wilcoxon 1945; Demsar, Statistical Comparisons of
Classifiers over Multiple Data Sets, JMLR 2006), the sign test whether it holds over cases (McNemar's exact test, where
there is one training each). Holm's correction keeps the chance of any false finding among several comparisons (Holm, A
Simple Sequentially Rejective Multiple Test Procedure, 1979).
"""

from collections.abc import Sequence

import numpy as np
from scipy import special, stats


def signed_rank(differences: np.ndarray) -> float:
    """Return the two-sided exact p of the signed-rank test on one difference per dataset [D].

    Zeros are left out and equal sizes share their mean rank, whence equal differences must be equal to the last bit.
    1.0 when all are zero; nan when there are none or one is nan. With fewer than 6 that differ it is at least 0.0625.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if not differences.size or np.isnan(differences).any():
        return float("nan")
    differing = differences[differences != 0]
    # Twice the ranks, which are whole numbers also where ties share one.
    ranks = np.rint(2 * stats.rankdata(np.abs(differing))).astype(int)
    # How many of the 2^D ways to choose signs give each sum of the positive ranks.
    ways = np.ones(1)
    for rank in ranks:
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    positive = int(ranks[differing > 0].sum())
    tail = min(positive, int(ranks.sum()) - positive)
    return float(min(1.0, 2 * ways[: tail + 1].sum() / ways.sum()))


def rank_direction(differences: np.ndarray) -> int:
    """Return the sign of the rank sum: 1 where the positive differences weigh more, -1 the negative ones, 0 neither."""
    differences = np.asarray(differences, dtype=np.float64)
    differing = differences[differences != 0]
    return int(np.sign(np.sign(differing) @ stats.rankdata(np.abs(differing)))) if differing.size else 0


def sign_test(differences: np.ndarray) -> float:
    """Return the two-sided exact p of the sign test on one difference per case [N]; 1.0 where none differs."""
    positive, negative = int(np.sum(differences > 0)), int(np.sum(differences < 0))
    return float(min(1.0, 2 * special.bdtr(min(positive, negative), positive + negative, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p values in the order given; a nan stays one and counts as no comparison."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # nan sorts last
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted.tolist()


def planned_first(p_values: Sequence[float], planned: int | None) -> list[float]:
    """Return adjusted p values where one comparison was planned and the others are explored, all in one family.

    As `group_first` with the planned one for the first group; Holm's without one.
    """
    return group_first(p_values, [place == planned for place in range(len(p_values))])


def group_first(p_values: Sequence[float], first: Sequence[bool]) -> list[float]:
    """Return adjusted p values of one family, in which those that are `first` were planned and others are explored.

    Half of the level is that of either group, by Holm within it; one has all of it once the whole other group is called
    (Bretz, Maurer, Brannath and Posch, A Graphical Approach to Sequentially Rejective Multiple Test Procedures, 2009).
    Where a group is empty, Holm's; a nan stays one and counts as no comparison.
    """
    places = [
        [place for place, p in enumerate(p_values) if not np.isnan(p) and first[place] == is_first]
        for is_first in (True, False)
    ]
    groups = [holm([p_values[place] for place in group]) for group in places]
    adjusted = [float("nan")] * len(p_values)
    for group, own, other in zip(places, groups, reversed(groups), strict=True):
        for place, p in zip(group, own, strict=True):
            adjusted[place] = min(1.0, 2 * p, max(p, 2 * max(other))) if other else p
    return adjusted
