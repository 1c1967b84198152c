"""How each variant compares with the main one, and when a difference is called a difference.

Every difference of the report has one sign: the other variant minus the main one.
"""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np

from pipeline.evaluation.significance import holm, wilcoxon
from pipeline.reporting.means import Mean, defined, defined_interval, mean_over, replicate_means
from pipeline.reporting.results import Results

ALPHA = 0.05
# Equal counts of right answers can differ in the last bit after averaging.
TIE = 1e-12

Verdict = Literal["higher", "lower", "within noise", "too few datasets"]


@dataclass(frozen=True)
class Comparison:
    """The means of a variant and of the main one over the datasets on which all variants have the metric.

    `interval` is that of the paired bootstrap difference, None where undefined; `p` the signed-rank test's over
    datasets, adjusted by Holm over the other variants. `wins` and `losses` count the main variant's datasets.
    `possible` says whether the test could reach ALPHA at all.
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
    possible: bool

    @property
    def difference(self) -> float:
        """Other minus main, as a fraction."""
        return self.other_mean.value - self.main_mean.value

    @property
    def datasets(self) -> int:
        """Number of datasets compared."""
        return len(self.main_mean.datasets)

    @property
    def verdict(self) -> Verdict:
        """What the other variant is beside the main one: a difference needs both tests."""
        if not self.possible:
            return "too few datasets"
        if excludes_zero(self.interval) and self.p < ALPHA:
            return "higher" if self.difference > 0 else "lower"
        return "within noise"


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
    adjusted = holm([wilcoxon(by_dataset[other]) for other in results.others])
    possible = can_be_called(len(names), len(results.others))
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
            possible=possible,
        )
        for other, p in zip(results.others, adjusted, strict=True)
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


def smallest_p(datasets: int, comparisons: int) -> float:
    """The least that the adjusted p can be: all datasets agree, and all comparisons are as clear as that one."""
    return min(1.0, comparisons * 2.0 ** (1 - datasets))


def can_be_called(datasets: int, comparisons: int) -> bool:
    """Whether so many datasets can carry a difference at all, among so many comparisons."""
    return smallest_p(datasets, comparisons) < ALPHA


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
    """Two-sided p of resampled differences [B] against 0 (add-one rule, Davison and Hinkley, 1997); nan for none."""
    rows = rows[np.isfinite(rows)]
    if not len(rows):
        return math.nan
    tail = min(np.sum(rows <= TIE), np.sum(rows >= -TIE))
    return float(min(1.0, 2 * (1 + tail) / (1 + len(rows))))
