"""When a difference between two variants is more than chance.

Paired bootstrap intervals speak about other test cases; Wilcoxon's signed-rank test speaks about other datasets
(Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 2006); Holm's correction keeps the chance
of any false finding among several comparisons (Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979).
"""

from collections.abc import Sequence

import numpy as np
from scipy import special, stats

TAIL = 0.025


def interval(replicates: np.ndarray) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles of bootstrap replicates [B]; (nan, nan) when any of them is nan.

    For paired differences and for means over datasets: simulated intervals hold the truth 92 to 95 times in a hundred
    from 20 cases a class on. For an accuracy or AUC of one dataset `share_interval` is closer.
    """
    low, high = np.percentile(replicates, [100 * TAIL, 100 * (1 - TAIL)])
    return float(low), float(high)


def share_interval(value: float, replicates: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of an ACC or AUC `value` in [0, 1] from its bootstrap replicates [B].

    Normal on the logit scale with the replicates' spread, hence longer on the side away from 0 and 1, and inside them.
    Percentiles are too narrow near a perfect AUC: with 42 against 114 cases and a true AUC of 0.9 they hold it 93
    times in a hundred and this interval 95 times; with 11 against 85 at 0.92, 86 and 91 times.
    (nan, nan) when anything is nan. At exactly 0 or 1 no resample differs and the interval is that point.
    """
    if not 0 < value < 1:
        return interval(np.append(replicates, value))
    reach = stats.norm.isf(TAIL) * np.std(replicates) / (value * (1 - value))
    middle = special.logit(value)
    return float(special.expit(middle - reach)), float(special.expit(middle + reach))


def wilcoxon(differences: np.ndarray) -> float:
    """Return the two-sided p of the signed-rank test on one difference per dataset [D].

    1.0 when all are zero; nan when there are none or one is nan. With fewer than 6 datasets it cannot be below 0.05.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if not differences.size:
        return float("nan")
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p values in the order given; a nan stays one and counts as no comparison."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # nan sorts last
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted.tolist()
