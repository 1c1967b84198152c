"""The ways of an external dataset through a variant, in the form of all results: what compares variants compares ways.

A way is a specialist, the backbone alone or the gate's mixture; each has a head of its own, tested on the same cases.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from mosaic_pipeline.evaluation.significance import group_first
from mosaic_pipeline.reporting.comparisons import ALPHA, DIGITS, Difference, on_dataset
from mosaic_pipeline.reporting.means import Mean, mean_over
from mosaic_pipeline.reporting.outside import HeadResult, TransferFile
from mosaic_pipeline.reporting.records import DatasetResult
from mosaic_pipeline.reporting.results import METRICS, Results, once

Key = tuple[str, str]  # external dataset, variant


@dataclass(frozen=True)
class Way:
    """One way of an external dataset through one variant, over its trainings.

    `score` is the mean validation score. `lift` has its difference by metric to the backbone alone, for volumes behind
    the same 3D tokenizer; None of the backbone itself. `own` marks the specialist that the routing would give the
    dataset.
    """

    head: HeadResult
    own: bool
    score: float
    means: dict[str, Mean]
    lift: dict[str, Difference] | None

    @property
    def backbone(self) -> bool:
        """Whether it is the backbone alone."""
        return self.head.specialist is None and not self.head.gate


@dataclass(frozen=True)
class Choice:
    """The specialist of a variant that validates best on an external dataset, and the other ones.

    Of several that validate `level` with it, the own one is taken, else the first. `p` is by metric the largest one of
    its leads over the others, 1.0 where it does not lead, adjusted as those of lifts are; nan with one training each.
    """

    best: Way
    others: tuple[Way, ...]
    level: tuple[Way, ...]
    p: dict[str, float]

    def shown(self, metric: str) -> bool:
        """Whether it is shown to be better than each of the others."""
        return self.p[metric] < ALPHA


def lifted(difference: Difference) -> int:
    """Return 1 where a difference is called higher, -1 where lower, 0 where nothing is called."""
    if difference.value is None or difference.interval is None or not difference.p < ALPHA:
        return 0
    return int(np.sign(difference.value))


@once
def all_ways(results: Results) -> tuple[dict[Key, list[Way]], dict[Key, Choice]]:
    """Return the ways of every external dataset through every variant, and what validation would choose of them.

    Ways are in the order of the stage; where there are none, or a single specialist, nothing is returned. All that is
    claimed of a metric, of whichever dataset and variant, is one family, in which the main variant's claims come first.
    """
    ways = {key: _ways(results, *key) for key in _keys(results)}
    chosen = {key: choice for key, of_key in ways.items() if (choice := _choice(results, *key, of_key))}
    for metric in METRICS:
        lifts = [(key, way.lift) for key, of_key in ways.items() for way in of_key if way.lift]
        claims = [*((key, lift[metric].p) for key, lift in lifts), *((key, of.p[metric]) for key, of in chosen.items())]
        p = group_first([value for _, value in claims], [key[1] == results.main for key, _ in claims])
        for (_, lift), adjusted in zip(lifts, p, strict=False):
            lift[metric] = replace(lift[metric], p=adjusted)
        for choice, adjusted in zip(chosen.values(), p[len(lifts) :], strict=True):
            choice.p[metric] = adjusted
    return ways, chosen


def _ways(results: Results, name: str, variant: str) -> list[Way]:
    """Ways of one dataset through one variant, p not adjusted."""
    view, heads, own = (
        _as_results(results, name, variant),
        _heads(results, name, variant),
        _file(results, name, variant).own,
    )
    references = {of_way[0].tokenizer: str(place) for place, of_way in enumerate(heads) if _is_backbone(of_way[0])}
    found = []
    for place, of_way in enumerate(heads):
        reference = references[of_way[0].tokenizer]
        lift = {metric: on_dataset(view, str(place), reference, metric, name) for metric in METRICS}
        found.append(
            Way(
                head=of_way[0],
                own=own is not None and of_way[0].specialist == own and not of_way[0].gate,
                score=_score(of_way),
                means={metric: mean_over(view, str(place), metric, (name,)) for metric in METRICS},
                lift=None if _is_backbone(of_way[0]) else lift,
            )
        )
    return found


def _choice(results: Results, name: str, variant: str, ways: Sequence[Way]) -> Choice | None:
    """The choice among specialists, p not adjusted; None where there are fewer than two."""
    places = [place for place, way in enumerate(ways) if way.head.specialist is not None and not way.head.gate]
    if len(places) < 2:
        return None
    highest = max(ways[place].score for place in places)
    level = [place for place in places if ways[place].score == highest]
    best = next((place for place in level if ways[place].own), level[0])
    others = [place for place in places if place != best]
    view = _as_results(results, name, variant)
    p = {metric: _worst_p(view, best, others, metric, name) for metric in METRICS}
    beside, as_good = (tuple(ways[place] for place in of if place != best) for of in (places, level))
    return Choice(ways[best], beside, as_good, p)


def _worst_p(view: Results, best: int, others: Sequence[int], metric: str, name: str) -> float:
    """The largest p of the best way's lead over any other; 1.0 where it does not lead."""
    found = [on_dataset(view, str(best), str(other), metric, name) for other in others]
    if any(math.isnan(each.p) for each in found):
        return math.nan
    return max(each.p if each.value is not None and each.value > 0 else 1.0 for each in found)


def _keys(results: Results) -> list[Key]:
    return [
        (name, variant)
        for name in results.transfers
        for variant in results.variants
        if _file(results, name, variant).heads
    ]


def _file(results: Results, name: str, variant: str) -> TransferFile:
    return results.transfers[name][variant, results.seeds[0]].file


def _heads(results: Results, name: str, variant: str) -> list[list[HeadResult]]:
    """Heads by way and seed."""
    by_seed = [results.transfers[name][variant, seed].file.heads for seed in results.seeds]
    return [list(of_way) for of_way in zip(*by_seed, strict=True)]


def _score(of_way: Sequence[HeadResult]) -> float:
    # Rounded as differences are, so that equal counts of right answers are equal scores.
    return round(fmean(head.val_score for head in of_way), DIGITS)


def _is_backbone(head: HeadResult) -> bool:
    return head.specialist is None and not head.gate


def _as_results(results: Results, name: str, variant: str) -> Results:
    """Return results of one dataset in which the ways, by their places, are the variants."""
    ways, runs = [str(place) for place in range(len(_file(results, name, variant).heads))], {}
    for seed in results.seeds:
        transfer, run = results.transfers[name][variant, seed], results.runs[variant, seed]
        for way, head, cases in zip(ways, transfer.file.heads, transfer.contributions, strict=True):
            tested = DatasetResult.model_construct(n=len(cases), acc=head.acc, auc=head.auc, data=transfer.file.data)
            runs[way, seed] = replace(run, variant=way, results={name: tested}, contributions={name: cases})
    form = results.transfers[name][variant, results.seeds[0]].dataset
    config = results.configs[variant].model_copy(update={"datasets": {name: form}})
    return replace(results, variants=tuple(ways), runs=runs, configs=dict.fromkeys(ways, config))
