"""How each variant compares with the main one, and when a difference is called a difference.

Every difference here has one sign: the other variant minus the main one. Sentences say the direction in words and give
sizes; gains over single-task training alone are main minus other. With one training each nothing is called.
"""

import math
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from mosaic_pipeline.evaluation.inference import Estimate
from mosaic_pipeline.evaluation.significance import holm, planned_first, rank_direction, sign_test, signed_rank
from mosaic_pipeline.evaluation.verdict import ALPHA, DIGITS, Verdict, least_signed_rank, verdict
from mosaic_pipeline.model.routing import SHARED
from mosaic_pipeline.present import all_present, present
from mosaic_pipeline.reporting.means import Mean, defined, estimate, mean_over
from mosaic_pipeline.reporting.results import Results, once


@dataclass(frozen=True)
class Comparison:
    """The means of a variant and of the main one over the datasets on which all variants have the metric.

    `estimate` is of their difference, over trainings and test cases; `p` is its p, and `rank_p` the signed-rank test's
    over datasets, both adjusted over the other variants, the `planned` one first. `direction` is the sign of the rank
    sum, `least_p` what `rank_p` would be if all datasets that differ agreed. `margin_p` is that of the hypothesis that
    the main variant is worse by the margin or more, adjusted like `p`; nan without a margin. `wins` and `losses` count
    the main variant's datasets; exact ties are neither.
    """

    metric: str
    main: str
    other: str
    main_mean: Mean
    other_mean: Mean
    estimate: Estimate
    p: float
    rank_p: float
    direction: int
    wins: int
    losses: int
    least_p: float
    planned: bool
    margin_p: float

    @property
    def difference(self) -> float:
        """Other minus main, as a fraction."""
        return present(self.other_mean.value) - present(self.main_mean.value)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the difference; None with one training each, or if nothing varies."""
        return self.estimate.interval

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
        """Whether both tests say that there is a difference, and the same one."""
        return self.verdict in ("higher", "lower")

    @property
    def no_worse(self) -> bool:
        """Whether the main variant is shown to be worse by less than the margin, if at all.

        One-sided at half of the level, so that it goes with the end of the two-sided interval.
        """
        return self.margin_p < ALPHA / 2

    @property
    def verdict(self) -> Verdict:
        """What the other variant is beside the main one: a difference needs both tests, noise an interval around 0."""
        return verdict(self.estimate, p=self.p, rank_p=self.rank_p, direction=self.direction, least_p=self.least_p)


@dataclass(frozen=True)
class Difference:
    """Difference of two variants on one dataset, as a fraction; `value` is None if undefined.

    `p` is that of the estimate over trainings and cases; of ACC the larger of it and of the sign test over cases, which
    holds where few answers differ, 1.0 if that points the other way. nan with one training each.
    """

    value: float | None
    interval: tuple[float, float] | None
    p: float


def planned(results: Results) -> str | None:
    """The comparison that was planned: with one adapter for all datasets, of the kind that the main one routes hard."""
    main = results.configs[results.main].routing
    if main.name != "specialists":
        return None
    routings = {other: results.configs[other].routing for other in results.others}
    return next((other for other, it in routings.items() if it.name == SHARED and it.kind == main.kind), None)


@once
def compare_all(results: Results, metric: str) -> dict[str, Comparison]:
    """Compare every other variant with the main one, by name; empty if no dataset has the metric."""
    names = defined(results, metric, results.datasets)
    others = results.others
    if not names or not others:
        return {}
    ahead = planned(results)
    first = others.index(ahead) if ahead else None
    main_mean = mean_over(results, results.main, metric, names)
    found = [estimate(results, (results.main, other), metric, names, (-1.0, 1.0)) for other in others]
    by_dataset = [_differences(results, other, metric, names) for other in others]
    ranks = [signed_rank(row) for row in by_dataset]
    rank_p = planned_first(ranks, first)
    p = planned_first([each.p for each in found], first)
    margin = [math.nan if results.margin is None else _no_worse_p(each, results.margin) for each in found]
    margin_p = planned_first(margin, first)
    compared = {}
    for place, other in enumerate(others):
        least = [*ranks[:place], least_signed_rank(by_dataset[place]), *ranks[place + 1 :]]
        compared[other] = Comparison(
            metric=metric,
            main=results.main,
            other=other,
            main_mean=main_mean,
            other_mean=mean_over(results, other, metric, names),
            estimate=found[place],
            p=p[place],
            rank_p=rank_p[place],
            direction=rank_direction(by_dataset[place]),
            wins=int(np.sum(by_dataset[place] < 0)),
            losses=int(np.sum(by_dataset[place] > 0)),
            least_p=planned_first(least, first)[place],
            planned=place == first,
            margin_p=margin_p[place],
        )
    return compared


def _no_worse_p(difference: Estimate, margin: float) -> float:
    """One-sided p of main being worse than the other by `margin` or more, from the estimate of other minus main."""
    return replace(difference, value=-difference.value).p_above(-margin)


def _differences(results: Results, other: str, metric: str, names: tuple[str, ...]) -> np.ndarray:
    """Other minus main by dataset [D], means over seeds, equal ones to the last bit."""
    differences = [
        fmean(all_present(results.values(other, name, metric)))
        - fmean(all_present(results.values(results.main, name, metric)))
        for name in names
    ]
    return np.round(differences, DIGITS)


def on_dataset(results: Results, variant: str, reference: str, metric: str, dataset: str) -> Difference:
    """Variant minus reference on one dataset."""
    values = results.values(variant, dataset, metric) + results.values(reference, dataset, metric)
    if any(value is None for value in values):
        return Difference(None, None, math.nan)
    found = estimate(results, (variant, reference), metric, (dataset,), (1.0, -1.0))
    p = found.p
    if metric == "acc":
        above, below = _answers(results, variant, reference, dataset)
        agrees = (above - below) * found.value > 0
        p = float(np.maximum(p, sign_test(np.repeat([1, -1], (above, below))) if agrees else 1.0))
    return Difference(found.value, found.interval, p)


def _answers(results: Results, variant: str, reference: str, dataset: str) -> tuple[int, int]:
    """On how many cases the variant's accuracy, mean over trainings, is above and below the reference's."""
    if variant == results.main:
        below, above = results.cases(reference, variant).answers[dataset]
        return above, below
    return results.cases(variant, reference).answers[dataset]


@once
def on_every_dataset(results: Results, metric: str) -> dict[tuple[str, str], Difference]:
    """Every other variant minus the main one on every dataset, by (variant, dataset), p adjusted by Holm over all."""
    found = {
        (other, name): on_dataset(results, other, results.main, metric, name)
        for other in results.others
        for name in results.datasets
    }
    adjusted = holm([each.p for each in found.values()])
    return {place: replace(each, p=p) for (place, each), p in zip(found.items(), adjusted, strict=True)}
