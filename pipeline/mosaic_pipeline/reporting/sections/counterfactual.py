"""Section: what a dataset's accuracy becomes when another specialist answers for it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mosaic_pipeline.evaluation.inference import Estimate, contrast, covariance_of_means
from mosaic_pipeline.evaluation.significance import holm, sign_test
from mosaic_pipeline.present import present
from mosaic_pipeline.reporting.comparisons import ALPHA
from mosaic_pipeline.reporting.heat import HeatCell, HeatMap, breaks, full_scale, tint
from mosaic_pipeline.reporting.records import Analysis, Counterfactual
from mosaic_pipeline.reporting.results import Results, once
from mosaic_pipeline.reporting.sentences import one_case
from mosaic_pipeline.reporting.trainings import analysed_cases, mean_of, on_average
from mosaic_pipeline.reporting.wording import bounds, listing, percent, plural, signed


@dataclass(frozen=True)
class Lead:
    """By how much a dataset's own specialist answers better than the mean of the others, case by case.

    `counts` [S, N] are whole numbers for each training and case, `unit` of which are an accuracy of one: what is level
    is exactly 0.
    """

    counts: np.ndarray
    unit: int

    @cached_property
    def estimate(self) -> Estimate:
        """The difference in accuracy, over trainings and cases."""
        return mean_lead([self])

    @property
    def p(self) -> float:
        """The larger p of two tests, over trainings and over cases; nan with one training.

        The second is the sign test of the mean over trainings, 1.0 if it points the other way.
        """
        if not self.estimate.repeated:
            return float("nan")
        over_cases = self.counts.sum(axis=0)
        agrees = np.sign(over_cases).sum() * self.estimate.value > 0
        return max(self.estimate.p, sign_test(over_cases)) if agrees else 1.0


def lead(right: np.ndarray, own: int, labels: int = 1) -> Lead:
    """Return the lead of specialist `own` from how many of each case's `labels` are right, [S, specialists, N]."""
    others = right.shape[1] - 1
    return Lead(right[:, own] * (others + 1) - right.sum(axis=1), others * labels)


def mean_lead(leads: Collection[Lead]) -> Estimate:
    """Estimate the mean over datasets, whose cases are not the same ones."""
    shares = [each.counts / each.unit for each in leads]
    values = np.mean([share.mean(axis=1) for share in shares], axis=0)
    covariance = np.sum([covariance_of_means(share) for share in shares], axis=0) / len(shares) ** 2
    return contrast(values[None, :], covariance[None, :, None, :], [1.0])


def directions(leads: Sequence[Lead]) -> list[int]:
    """Return 1 where the own specialist is shown to be better, -1 worse, 0 neither: by Holm over all of them."""
    adjusted = holm([each.p for each in leads])
    return [int(np.sign(each.estimate.value)) if p < ALPHA else 0 for each, p in zip(leads, adjusted, strict=True)]


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section: (variant, sentences, map) for each variant that has specialists to swap."""
    parts = []
    for index, (variant, (leads, called)) in enumerate(_called(results).items()):
        if variant not in results.on_page:
            continue
        analyses = results.analyses[variant]
        specialists = len(present(analyses[0].counterfactual).specialists)
        sentences = routing_sentences(results, leads, called, specialists, _one_case(results, analyses))
        parts.append((variant, sentences, routing_map(results, variant, called, index)))
    return {"parts": parts} if parts else None


@once
def _called(results: Results) -> dict[str, tuple[dict[str, Lead], dict[str, int]]]:
    """By variant that has specialists to swap: the leads by dataset, and what is shown of each."""
    leads = {
        variant: leads_of(results, [present(each.counterfactual) for each in analyses])
        for variant, analyses in results.analyses.items()
        if analyses[0].counterfactual and len(analyses[0].counterfactual.specialists) > 1
    }
    # One family: whatever the section claims, of whichever variant and dataset.
    shown = iter(directions([each for by_dataset in leads.values() for each in by_dataset.values()]))
    return {variant: (of, {name: next(shown) for name in of}) for variant, of in leads.items()}


def leads_of(results: Results, found: Sequence[Counterfactual]) -> dict[str, Lead]:
    """Leads by dataset, of one variant trained several times."""
    leads = {}
    for name in found[0].right:
        # The own specialist first: trainings that draw their groups may have different ones.
        right = np.array([_own_first(each, name, each.right[name]) for each in found])
        leads[name] = lead(right, 0, results.dataset(name).label_columns)
    return leads


def _own_first(found: Counterfactual, name: str, by_specialist: Sequence[Any]) -> list[Any]:
    own = found.specialists.index(found.own[name])
    return [by_specialist[own], *by_specialist[:own], *by_specialist[own + 1 :]]


def _one_case(results: Results, analyses: Sequence[Analysis]) -> str:
    names = present(analyses[0].counterfactual).right
    cases = [min(analyses[0].cases, results.origin(name).splits["val"].n) for name in names]
    return one_case(cases)


def routing_sentences(
    results: Results, leads: Mapping[str, Lead], called: Mapping[str, int], specialists: int, one_case: str
) -> list[str]:
    """On which datasets the own specialist is shown to differ from the others; with one training, how many lead."""
    mean, trainings = mean_lead(leads.values()), len(next(iter(leads.values())).counts)
    others = "the other one's" if specialists == 2 else "the others' mean"
    datasets = plural(len(leads), "dataset")
    if trainings == 1:
        signs = [np.sign(each.counts.sum()) for each in leads.values()]
        above, level, below = (signs.count(sign) for sign in (1, 0, -1))
        return [
            f"{on_average(1)}, the own specialist's accuracy is above {others} on {above} of {datasets}, level on "
            f"{level} and below on {below}, by {signed(mean.value)} points on average; {one_case}. Nothing is called "
            "by one training."
        ]
    better, worse = ([results.title(name) for name in called if called[name] == sign] for sign in (1, -1))
    interval = f" (95 % interval over trainings and cases {bounds(mean.interval)})" if mean.interval else ""
    return [
        f"The own specialist's accuracy is shown to be above {others} on {_named(better)} of {datasets} and below it "
        f"on {_named(worse)}, over {trainings} trainings and the cases, adjusted by Holm.",
        f"On average over datasets, it is {signed(mean.value)} points from {others}{interval}; {one_case}.",
    ]


def _named(titles: list[str]) -> str:
    return f"{len(titles)} ({listing(titles)})" if titles else "none"


def _own_and_mean(found: Counterfactual, name: str, acc: Sequence[float]) -> list[float]:
    own, *others = _own_first(found, name, acc)
    return [own, float(np.mean(others))]


def routing_map(results: Results, variant: str, called: Mapping[str, int], index: int) -> HeatMap:
    """Rows: datasets; columns: specialists; accuracy in percent, tinted by its difference to the own specialist's."""
    analyses = results.analyses[variant]
    swapped = [present(each.counterfactual) for each in analyses]
    found = swapped[0]
    names = [name for name in results.datasets if name in found.acc]
    columns = [f"Specialist {name}" if len(name) == 1 else name for name in found.specialists]
    tables = [each.acc for each in swapped]
    places = {name: found.specialists.index(found.own[name]) for name in names}
    if any(each.own != found.own for each in swapped):
        # Each training drew groups of its own, so that one letter is not one specialist.
        columns, places = ["Own specialist", "Mean of the others"], dict.fromkeys(names, 0)
        tables = [
            {name: _own_and_mean(each, name, values) for name, values in table.items()}
            for each, table in zip(swapped, tables, strict=True)
        ]
    acc = mean_of(tables)
    scale = full_scale([value - acc[name][places[name]] for name in names for value in acc[name]])
    rows = []
    for name in names:
        own = places[name]
        cells = [
            HeatCell(
                percent(value),
                tint(value - acc[name][own], scale),
                mark=place == own and called[name] != 0,
                own=place == own,
            )
            for place, value in enumerate(acc[name])
        ]
        rows.append((results.title(name), cells))
    stars = " Bold with a star: shown to differ from the mean of the others." if len(analyses) > 1 else ""
    return HeatMap(
        name=f"counterfactual-{index}",
        caption=f"{variant}, {analysed_cases(analyses)}: accuracy in percent with every specialist in turn under "
        "its own head. Framed: the own specialist. Orange: lower than with the own one, blue: higher; full colour at "
        f"{100 * scale:.1f} points.{stars} The head was trained with the own specialist, which is a part of the loss.",
        corner="Dataset",
        header=columns,
        rows=rows,
        rules=breaks([found.own[name] for name in names]),
    )
