"""When a difference between two methods is called one."""

from typing import Literal

import numpy as np

from mosaic_pipeline.evaluation.inference import Estimate

ALPHA = 0.05
# Digits to which differences are compared. Those of counts of right answers differ by more than this, or not at all:
# two shares k / n of 47,280 and 22,433 cases, over three seeds, differ by 1e-10 or more.
DIGITS = 12

Verdict = Literal["higher", "lower", "unclear", "within noise", "too few differ", "one training each"]


def verdict(estimate: Estimate, *, p: float, rank_p: float, direction: int, least_p: float) -> Verdict:
    """Return what a difference is: it needs both tests, and noise an interval around 0.

    `p` is the estimate's and `rank_p` the signed-rank test's, both adjusted; `direction` is the sign of the rank sum,
    and `least_p` what `rank_p` would be if all that differ agreed.
    """
    if not estimate.repeated:
        return "one training each"
    if least_p >= ALPHA:
        return "too few differ"
    if estimate.interval is not None and not excludes_zero(estimate.interval):
        return "within noise"
    agree = direction == np.sign(estimate.value)
    if estimate.interval is None or not agree or max(p, rank_p) >= ALPHA:
        return "unclear"
    return "higher" if estimate.value > 0 else "lower"


def excludes_zero(interval: tuple[float, float] | None) -> bool:
    """Whether an interval lies on one side of 0."""
    return interval is not None and (interval[0] > 0 or interval[1] < 0)


def least_signed_rank(differences: np.ndarray) -> float:
    """Return the least p of the signed-rank test on as many differences as are not 0: all of them agree."""
    return min(1.0, 2.0 ** (1 - np.count_nonzero(differences)))
