"""Section: what corrupted test images cost each variant, by kind of corruption and strength."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np

from mosaic_pipeline.data.corruptions import STRENGTHS
from mosaic_pipeline.evaluation.inference import Estimate
from mosaic_pipeline.present import all_present
from mosaic_pipeline.reporting.comparisons import ALPHA, Comparison, compare_all, planned
from mosaic_pipeline.reporting.means import defined, estimate, mean_over, over
from mosaic_pipeline.reporting.results import METRICS, Results
from mosaic_pipeline.reporting.sentences import TITLES
from mosaic_pipeline.reporting.stress import corrupted, kept
from mosaic_pipeline.reporting.table import NONE, Cell, Table
from mosaic_pipeline.reporting.wording import (
    MINUS,
    bounds,
    listing,
    p_value,
    percent,
    plural,
    range_percent,
    signed,
    with_unit,
)

EVERY = tuple(range(1, STRENGTHS + 1))
# What a kind does to images, in words.
KINDS = {"noise": "noise", "blur": "blur", "contrast": "low contrast", "jpeg": "JPEG", "pixelate": "coarse pixels"}
# Of what a variant keeps, in the words of what it loses; a sign beside the word, as elsewhere.
VERDICTS = {"higher": "▼ smaller", "lower": "▲ larger"}


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section; None if no corrupted images were tested."""
    if not results.corrupted:
        return None
    kinds = tuple(results.corrupted)
    share = kept(results, kinds, EVERY)
    compared = {metric: compare_over_all(share, metric) for metric in METRICS}
    return {
        "sentences": [
            *(sentence for metric in METRICS for sentence in level_sentences(results, share, metric)),
            *(sentence for metric in METRICS for sentence in drop_sentences(compared[metric], len(results.seeds))),
        ],
        "table": drops_table(results, share, compared),
        "by_kind": [kinds_table(results, metric) for metric in METRICS],
    }


def level_sentences(results: Results, share: Results, metric: str) -> list[str]:
    """What the main variant reaches on corrupted images, what it loses, and to which kind most."""
    names = defined(share, metric, results.datasets)
    if not names:
        return [f"{TITLES[metric]} is undefined on every dataset, so nothing can be said of it."]
    kinds, main = tuple(results.corrupted), results.main
    clean = mean_over(results, main, metric, names)
    after = mean_over(corrupted(results, kinds, EVERY), main, metric, names)
    lost = drop(share, main, metric)
    interval = f" (95\u00a0% CI {_range(lost.interval)})" if lost.interval else ""
    level = (
        f"In {TITLES[metric]}, {main} has {with_unit(clean.value)} on clean images and {with_unit(after.value)} over "
        f"{named(kinds)} at {STRENGTHS} strengths; a dataset loses {_share(lost.value)}\u00a0% of its "
        f"{TITLES[metric]} on average{interval}"
    )
    if len(kinds) == 1:
        return [f"{level}."]
    by_kind = {kind: drop(kept(results, [kind], EVERY), main, metric).value for kind in kinds}
    most, least = (pick(by_kind, key=by_kind.__getitem__) for pick in (max, min))
    ends = [f"{KINDS[kind]} ({_share(by_kind[kind])}\u00a0%)" for kind in (most, least)]
    return [f"{level}, most to {ends[0]}, least to {ends[1]}."]


def named(kinds: Iterable[str]) -> str:
    """Kinds of corruption in words."""
    return listing([KINDS[kind] for kind in kinds])


def drop(share: Results, variant: str, metric: str) -> Estimate:
    """Estimate the mean relative drop of a variant over datasets, from what it keeps; of these models with one seed."""
    found = estimate(share, (variant,), metric, defined(share, metric, share.datasets), (-1.0,))
    found = replace(found, value=1 + found.value)
    return found if found.repeated else found.of_these_models


def drop_sentences(compared: dict[str, Comparison], trainings: int) -> list[str]:
    """Which other variants are shown to lose less or more than the main one, in one metric."""
    found = list(compared.values())
    if not found:
        return []
    metric, main = TITLES[found[0].metric], found[0].main
    if trainings == 1:
        smaller, larger = (sum(np.sign(each.difference) == sign for each in found) for sign in (1, -1))
        others = plural(len(found), "other variant")
        return [
            f"In {metric}, of {others} {smaller or 'none'} ended with a smaller relative drop than {main} and "
            f"{larger or 'none'} with a larger one: one training each, so none is called."
        ]
    if all(each.verdict == "too few differ" for each in found):
        differing = max(each.differing for each in found)
        return [
            f"No difference of relative drops can be called in {metric}: with {plural(differing, 'differing dataset')} "
            f"and {plural(len(found), 'comparison')} the adjusted p of the signed-rank test cannot be less than "
            f"{min(each.least_p for each in found):.2g}, even if all of them agreed."
        ]
    by_verdict = {verdict: [each.other for each in found if each.verdict == verdict] for verdict in VERDICTS}
    rest = [each.other for each in found if not each.called]
    parts = [f"a smaller relative drop than that of {main} is shown for {_named(by_verdict['higher'])}"]
    parts.append(f"a larger one for {_named(by_verdict['lower'])}")
    parts += [f"{listing(rest)} {'is' if len(rest) == 1 else 'are'} not told apart from it"] if rest else []
    return [f"In {metric}, {'; '.join(parts)}."]


def _named(variants: list[str]) -> str:
    return listing(variants) if variants else "none"


def drops_table(results: Results, share: Results, compared: dict[str, dict[str, Comparison]]) -> Table:
    """Rows: variants; columns: mean ACC and AUC on corrupted images, relative drop, its difference, p and verdict."""
    after, repeated = corrupted(results, tuple(results.corrupted), EVERY), len(results.seeds) > 1
    columns = ("Corrupted", "Drop", "Difference", "p", "Called")[: 5 if repeated else 3]
    rows = []
    for variant in results.beside_main:
        row = [Cell(variant)]
        for metric in METRICS:
            if not defined(share, metric, results.datasets):
                row += [Cell(NONE)] * len(columns)
                continue
            row += _mean_cells(after, share, variant, metric)
            row += _difference_cells(compared[metric].get(variant))[: len(columns) - 2]
        rows.append(row)
    ahead = ", the planned one first" if planned(results) and len(results.others) > 1 else ""
    doubled = ", and doubled, for single kinds have the other half of the level" if _halves(results) > 1 else ""
    calls = (
        " p: the larger one of the mean's, over trainings and test cases, and of the signed-rank test's over datasets, "
        f"each adjusted over the variants{ahead}{doubled}; called below {ALPHA} if both point the same way."
        if repeated
        else " One training each: none is called."
    )
    return Table(
        name="robustness",
        caption=f"Mean test ACC and AUC in percent over {named(results.corrupted)} at {STRENGTHS} strengths, "
        "and the drop, the share of its value on clean images that a dataset loses, in percent, mean over datasets, "
        f"with 95\u00a0% intervals over {over(results)}. Difference: drop of the variant minus that of {results.main}, "
        f"in points; below 0 it loses less.{calls}",
        header=["Variant", *len(METRICS) * columns],
        spans=[("", 1), *((TITLES[metric], len(columns)) for metric in METRICS)],
        rows=rows,
        text_columns=(5, 10) if repeated else (),
        sortable=True,
    )


def _mean_cells(after: Results, share: Results, variant: str, metric: str) -> list[Cell]:
    mean, lost = mean_over(after, variant, metric, after.datasets), drop(share, variant, metric)
    return [
        Cell(percent(mean.value), below=range_percent(mean.interval) if mean.interval else "", order=mean.value),
        _drop_cell(lost),
    ]


def _drop_cell(lost: Estimate) -> Cell:
    return Cell(_share(lost.value), below=_range(lost.interval) if lost.interval else "", order=lost.value)


def _share(drop: float) -> str:
    """A relative drop in percent, which is below 0 where something was gained."""
    return percent(drop).replace("-", MINUS)


def _range(interval: tuple[float, float]) -> str:
    return " to ".join(_share(end) for end in interval)


def _difference_cells(comparison: Comparison | None) -> list[Cell]:
    if comparison is None:
        return [Cell(NONE)] * 3
    p = float(np.maximum(comparison.p, comparison.rank_p))
    return [
        _difference_cell(comparison),
        Cell(p_value(p).removeprefix("= "), below="planned" if comparison.planned else "", order=p),
        Cell(VERDICTS.get(comparison.verdict, comparison.verdict), comparison.called),
    ]


def _difference_cell(comparison: Comparison) -> Cell:
    """The difference of relative drops, which has the opposite sign of that of what is kept."""
    lost = -comparison.difference
    interval = (-comparison.interval[1], -comparison.interval[0]) if comparison.interval else None
    return Cell(signed(lost), comparison.called, below=bounds(interval) if interval else "", order=lost)


def kinds_table(results: Results, metric: str) -> Table:
    """Rows: kinds of corruption and variants; columns: clean images, each strength, relative drop and difference."""
    rows = []
    for kind in results.corrupted:
        share, compared = kept(results, [kind], EVERY), _by_kind(results, kind, metric)
        by_strength = [corrupted(results, [kind], [strength]) for strength in EVERY]
        names = defined(share, metric, results.datasets)
        for variant in results.beside_main:
            row = [Cell(KINDS[kind], below=variant)]
            if names:
                row += [Cell(percent(_mean(view, variant, metric, names))) for view in (results, *by_strength)]
                row.append(_drop_cell(drop(share, variant, metric)))
                row.append(_difference_cell(compared[variant]) if variant in compared else Cell(NONE))
            else:
                row += [Cell(NONE)] * (3 + STRENGTHS)
            rows.append(row)
    stars, factor = "", _of_kinds(results)
    if len(results.seeds) > 1:
        stars = f" Bold: called, as above{f', by p below {ALPHA} when multiplied by {factor}' if factor > 1 else ''}."
    return Table(
        name=f"robustness-{metric}",
        caption=f"Mean test {TITLES[metric]} in percent on clean images and at strengths 1 (mildest) to {STRENGTHS}; "
        f"drop over the strengths and its difference to that of {results.main}, as above.{stars}",
        header=["Corruption", "Clean", *map(str, EVERY), "Drop", "Difference"],
        rows=rows,
        sortable=True,
    )


def compare_over_all(share: Results, metric: str) -> dict[str, Comparison]:
    """Compare what variants keep over all kinds; half of the level is its own, if single kinds are asked as well."""
    return _times(compare_all(share, metric), _halves(share))


def _by_kind(results: Results, kind: str, metric: str) -> dict[str, Comparison]:
    """Compare what variants keep under one kind; kinds share the other half of the level."""
    compared = compare_all(kept(results, [kind], EVERY), metric)
    return _times(compared, _of_kinds(results))


def _of_kinds(results: Results) -> int:
    """Return by what p is multiplied of each kind."""
    return _halves(results) * len(results.corrupted)


def _halves(results: Results) -> int:
    """Return 2 where all kinds and single ones are two questions, 1 where there is a single kind."""
    return min(2, len(results.corrupted))


def _times(compared: dict[str, Comparison], factor: int) -> dict[str, Comparison]:
    def times(p: float) -> float:
        return min(1.0, factor * p)

    return {
        other: replace(each, p=times(each.p), rank_p=times(each.rank_p), least_p=times(each.least_p))
        for other, each in compared.items()
    }


def _mean(results: Results, variant: str, metric: str, names: Sequence[str]) -> float:
    """Mean over seeds and datasets, all of which have the metric."""
    return fmean(value for name in names for value in all_present(results.values(variant, name, metric)))
