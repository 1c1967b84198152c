"""How each variant compares with the main one, and when a difference is called a difference.

Every difference here has one sign: the other variant minus the main one. Sentences say the direction in words and give
sizes; gains over single-task training alone are main minus other.
"""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np

from pipeline.evaluation.significance import holm, wilcoxon
from pipeline.reporting.means import TIE, Mean, defined, defined_interval, mean_over, replicate_means
from pipeline.reporting.results import Results

ALPHA = 0.05

Verdict = Literal["higher", "lower", "unclear", "within noise", "too few differ"]


@dataclass(frozen=True)
class Comparison:
    """The means of a variant and of the main one over the datasets on which all variants have the metric.

    `interval` is that of the paired bootstrap difference, None where undefined; `p` the signed-rank test's over
    datasets, adjusted by Holm over the other variants, and `least_p` what that would be if all datasets that differ
    agreed. `wins` and `losses` count the main variant's datasets; ties to the last bit are neither.
    """

    metric: str
    main: str
    other: str
    main_mean: Mean
    other_mean: Mean
    interval: tuple[float, float] | None
    p: float
    wins: int
    losses: int
    least_p: float

    @property
    def difference(self) -> float:
        """Other minus main, as a fraction."""
        return self.other_mean.value - self.main_mean.value

    @property
    def datasets(self) -> int:
        """Number of datasets compared."""
        return len(self.main_mean.datasets)

    @property
    def differing(self) -> int:
        """Number of datasets on which the two differ: those that the signed-rank test sees."""
        return self.wins + self.losses

    @property
    def called(self) -> bool:
        """Whether both tests say that there is a difference."""
        return self.verdict in ("higher", "lower")

    @property
    def verdict(self) -> Verdict:
        """What the other variant is beside the main one: a difference needs both tests, noise an interval around 0."""
        if self.least_p >= ALPHA:
            return "too few differ"
        if self.interval is not None and not excludes_zero(self.interval):
            return "within noise"
        if self.interval is None or self.p >= ALPHA:
            return "unclear"
        return "higher" if self.difference > 0 else "lower"


@dataclass(frozen=True)
class Difference:
    """Difference of two variants on one dataset, as a fraction, with its paired interval; `value` None if undefined."""

    value: float | None
    interval: tuple[float, float] | None

    @property
    def marked(self) -> bool:
        """Whether the paired interval excludes 0."""
        return self.value is not None and excludes_zero(self.interval)


def excludes_zero(interval: tuple[float, float] | None) -> bool:
    """Whether an interval lies on one side of 0."""
    return interval is not None and (interval[0] > TIE or interval[1] < -TIE)


def compare_all(results: Results, metric: str) -> dict[str, Comparison]:
    """Compare every other variant with the main one, by name; empty if no dataset has the metric."""
    names = defined(results, metric, results.datasets)
    if not names:
        return {}
    by_dataset = {other: _differences(results, other, metric, names) for other in results.others}
    p_values = [wilcoxon(by_dataset[other]) for other in results.others]
    least = [_floor(by_dataset[other]) for other in results.others]
    main_rows = replicate_means(results, results.main, metric, names)
    return {
        other: Comparison(
            metric=metric,
            main=results.main,
            other=other,
            main_mean=mean_over(results, results.main, metric, names),
            other_mean=mean_over(results, other, metric, names),
            interval=defined_interval(replicate_means(results, other, metric, names) - main_rows),
            p=p,
            wins=int(np.sum(by_dataset[other] < 0)),
            losses=int(np.sum(by_dataset[other] > 0)),
            least_p=holm([*p_values[:place], least[place], *p_values[place + 1 :]])[place],
        )
        for place, (other, p) in enumerate(zip(results.others, holm(p_values), strict=True))
    }


def _differences(results: Results, other: str, metric: str, names: tuple[str, ...]) -> np.ndarray:
    """Other minus main by dataset [D], means over seeds; ties to the last bit are exactly 0."""
    differences = np.array(
        [
            fmean(results.values(other, name, metric)) - fmean(results.values(results.main, name, metric))
            for name in names
        ]
    )
    return np.where(np.abs(differences) > TIE, differences, 0)


def _floor(differences: np.ndarray) -> float:
    """The least p of the signed-rank test on as many differences as are not 0: all of them agree."""
    return min(1.0, 2.0 ** (1 - np.count_nonzero(differences)))


def on_dataset(results: Results, variant: str, reference: str, metric: str, dataset: str) -> Difference:
    """Variant minus reference on one dataset, with the paired interval."""
    values = results.values(variant, dataset, metric) + results.values(reference, dataset, metric)
    if any(value is None for value in values):
        return Difference(None, None)
    half = len(results.seeds)
    rows = paired_rows(results, variant, reference, metric, dataset)
    return Difference(fmean(values[:half]) - fmean(values[half:]), defined_interval(rows))


def paired_rows(results: Results, variant: str, reference: str, metric: str, dataset: str) -> np.ndarray:
    """Resampled differences [B] of two variants on one dataset: the same resample on both sides."""
    rows = [replicate_means(results, name, metric, (dataset,)) for name in (variant, reference)]
    return rows[0] - rows[1]


def bootstrap_p(rows: np.ndarray) -> float:
    """Two-sided p of resampled differences [B] against 0 (add-one rule, Davison and Hinkley, 1997); nan for none.

    1.0 where they do not vary: that shows nothing, and still counts as a comparison.
    """
    rows = rows[np.isfinite(rows)]
    if not len(rows):
        return math.nan
    if np.ptp(rows) <= TIE:
        return 1.0
    tail = min(np.sum(rows <= TIE), np.sum(rows >= -TIE))
    return float(min(1.0, 2 * (1 + tail) / (1 + len(rows))))
