"""Whether methods differ, from a few trainings of each that answer the same test cases.

Another training of a method gives another model, and other test cases give another score. The first is known from as
many trainings as there are seeds, so its share of the error follows Student's t with few degrees of freedom; the second
from hundreds of cases. The two limits are put together by Howe's rule: their squares add (Howe, Approximate Confidence
Limits on the Mean of X + Y, JASA 1974; Zou and Donner, Construction of Confidence Limits about Effect Measures,
Statistics in Medicine 2008). docs/statistics.md says what else was tried and how each did when nothing differs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

TAIL = 0.025
# Below it a p value is no longer told apart: what stands for "far beyond any threshold".
LEAST_P = 1e-12
# A standard error below it is what rounding leaves of none.
NOTHING = 1e-7


@dataclass(frozen=True)
class Estimate:
    """A mean or a difference of methods; `trainings` and `cases` are its standard errors from either source.

    With one training each nothing is known of other trainings: `trainings` is None, and there is neither an interval
    nor a p. `freedom` are the degrees of freedom of `trainings` (Welch's).
    """

    value: float
    trainings: float | None
    freedom: float
    cases: float

    @property
    def repeated(self) -> bool:
        """Whether there are several trainings, so that anything can be said of the methods."""
        return self.trainings is not None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval over trainings and cases; None with one training each, or if nothing varies."""
        reach = self.reach(TAIL)
        return (self.value - reach, self.value + reach) if reach else None

    @property
    def of_these_models(self) -> "Estimate":
        """The same for the trained models at hand: it varies with the cases alone."""
        return Estimate(self.value, 0.0, math.inf, self.cases)

    @property
    def share_interval(self) -> tuple[float, float] | None:
        """The interval of a share in (0, 1), on the logit scale: longer on the side away from 0 and 1."""
        reach = self.reach(TAIL)
        if not reach or not 0 < self.value < 1:
            return None
        middle, reach = special.logit(self.value), reach / (self.value * (1 - self.value))
        return float(special.expit(middle - reach)), float(special.expit(middle + reach))

    @property
    def p(self) -> float:
        """Two-sided p against 0; nan with one training each, 1.0 where nothing varies."""
        return self._tail(abs(self.value), sides=2)

    def p_above(self, bound: float) -> float:
        """One-sided p of the hypothesis that the value is at most `bound`; nan and 1.0 as for `p`."""
        if not self.reach(TAIL):
            return self.p
        p = self._tail(abs(self.value - bound), sides=1)
        return p if self.value > bound else 1 - p

    def reach(self, tail: float) -> float:
        """How far the interval reaches to each side if a share `tail` is left out there.

        0.0 where nothing varies, and where nothing is known of either source.
        """
        if self.trainings is None or math.isnan(self.cases) or max(self.trainings, self.cases) < NOTHING:
            return 0.0
        # The functions beneath scipy.stats, which takes a hundred times as long; a p solves for the tail.
        normal = -special.ndtri(tail)
        student = -special.stdtrit(self.freedom, tail) if math.isfinite(self.freedom) else normal
        return math.hypot(student * self.trainings, normal * self.cases)

    def _tail(self, distance: float, sides: int) -> float:
        """Share of the tails, `sides` of them, beyond a distance from the value."""
        if self.trainings is None:
            return math.nan
        if not self.reach(TAIL):
            return 1.0
        if distance >= self.reach(LEAST_P):
            return sides * LEAST_P

        def beyond(log_tail: float) -> float:
            return self.reach(math.exp(log_tail)) - distance

        return sides * math.exp(optimize.brentq(beyond, math.log(LEAST_P), math.log(0.5)))


def contrast(values: np.ndarray, covariance: np.ndarray, weights: Sequence[float] | np.ndarray) -> Estimate:
    """Estimate sum_k weights[k] * (mean of method k over its trainings).

    `values` [K, S] are those of S trainings of K methods; `covariance` [K, S, K, S] is theirs over other cases drawn
    alike. What two trainings of a method have in common over cases is the method's; it stays, however many trainings
    there are. What they do not is among what varies between trainings, and the least that does: a few trainings may
    come out equal by chance, as counts of right answers do, and still answer differently.
    """
    values, weights = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    trainings = values.shape[1]
    value = float(weights @ values.mean(axis=1))
    if trainings == 1:
        cases = np.maximum(0.0, weights @ covariance[:, 0, :, 0] @ weights)
        return Estimate(value, None, math.nan, math.sqrt(cases))
    own = np.einsum("ksks->k", covariance) / trainings
    same = np.einsum("ksls->kl", covariance)
    common = (covariance.sum(axis=(1, 3)) - same) / (trainings * (trainings - 1))
    between = np.maximum(values.var(axis=1, ddof=1), own - np.diagonal(common))
    parts = weights**2 * between / trainings
    square = float(parts.sum())
    freedom = (trainings - 1) * square**2 / float((parts**2).sum()) if square else math.inf
    # np.maximum, unlike max, keeps a nan: what cases do is then unknown, and so is the whole.
    cases = np.maximum(0.0, weights @ common @ weights)
    return Estimate(value, math.sqrt(square), freedom, math.sqrt(cases))


def covariance_of_means(contributions: np.ndarray) -> np.ndarray:
    """Covariance [T, T] over other cases of T means, each over the same N cases: contributions [T, N].

    Zeros for a single case, of which nothing is known.
    """
    trainings, cases = contributions.shape
    if cases < 2:
        return np.zeros((trainings, trainings))
    return np.atleast_2d(np.cov(contributions, ddof=1)) / cases


def wilson(share: float, effective: float) -> tuple[float, float]:
    """95 % interval of a share of right answers (Wilson, JASA 1927), as if of `effective` independent ones."""
    z2 = special.ndtri(TAIL) ** 2
    middle = (share + z2 / (2 * effective)) / (1 + z2 / effective)
    reach = math.sqrt(z2 * (share * (1 - share) / effective + z2 / (4 * effective**2))) / (1 + z2 / effective)
    # Exactly 0 and 1 are ends of the interval, which rounding must not pass.
    return max(0.0, min(middle - reach, share)), min(1.0, max(middle + reach, share))
