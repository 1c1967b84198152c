"""Section: what a dataset loses between its own visit and the end of the round, while the others train."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from mosaic_pipeline.evaluation.inference import Estimate, contrast
from mosaic_pipeline.evaluation.significance import holm
from mosaic_pipeline.present import all_present, present
from mosaic_pipeline.reporting.comparisons import ALPHA
from mosaic_pipeline.reporting.heat import HeatCell, HeatMap, breaks, full_scale, tint
from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.sentences import one_case
from mosaic_pipeline.reporting.table import NONE
from mosaic_pipeline.reporting.trainings import seed_list
from mosaic_pipeline.reporting.wording import bounds, listing, plural, points, signed

DECIMALS = 9


@dataclass(frozen=True)
class Finding:
    """What a variant loses a round, mean over datasets, over trainings alone; and that minus what the main one loses.

    `loses` and `differs` are 1 where more than 0 is shown, -1 where less is, 0 where neither is.
    """

    loss: Estimate
    loses: int
    difference: Estimate | None
    differs: int


def findings(losses: Mapping[str, Sequence[float]], main: str) -> dict[str, Finding]:
    """Test the losses of every variant, a value for each training, against 0 and against those of the main variant.

    The level is shared among all of these tests, by Holm.
    """
    own = {variant: _mean([values], [1.0]) for variant, values in losses.items()}
    others = [variant for variant in losses if variant != main and main in losses]
    differences = {variant: _mean([losses[variant], losses[main]], [1.0, -1.0]) for variant in others}
    tested = [*own.values(), *differences.values()]
    shown = iter(
        int(np.sign(each.value)) if p < ALPHA else 0
        for each, p in zip(tested, holm([each.p for each in tested]), strict=True)
    )
    loses, differs = ({variant: next(shown) for variant in tests} for tests in (own, differences))
    return {
        variant: Finding(own[variant], loses[variant], differences.get(variant), differs.get(variant, 0))
        for variant in losses
    }


def _mean(values: Sequence[Sequence[float]], weights: Sequence[float]) -> Estimate:
    """Estimate over trainings alone: of other cases nothing is known, so nothing of them is counted."""
    # Losses that come out equal must be so to the last bit, or rounding would pass for a very small spread.
    exact = np.round(values, DECIMALS)
    return contrast(exact, np.zeros(2 * exact.shape), weights)


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section; None if no training validated after each visit."""
    table = {variant: losses for variant in results.variants if (losses := forgetting(results, variant))}
    if not table:
        return None
    found = findings(
        {variant: [fmean(each) for each in zip(*by.values(), strict=True)] for variant, by in table.items()},
        results.main,
    )
    return {
        "sentences": [*forgetting_sentences(found, results.main), _evidence(results, table)],
        "map": forgetting_map(results, table, found),
    }


def forgetting(results: Results, variant: str) -> dict[str, list[float]]:
    """Accuracy after the visit minus accuracy at the end of the same round, mean over rounds, by dataset and seed.

    Between the two only the others train. The best of all rounds minus the last one, as forgetting is often defined,
    would also count what a dataset's own later visits change, and is above 0 where nothing is shared.
    """
    losses: dict[str, list[float]] = {}
    for name in results.datasets:
        by_seed = [results.runs[variant, seed].lost.get(name) for seed in results.seeds]
        if all(lost is not None for lost in by_seed):
            losses[name] = all_present(by_seed)
    return losses


def forgetting_sentences(found: Mapping[str, Finding], main: str) -> list[str]:
    """Which variants are shown to lose, and more or less than the main one; with one training each, the numbers."""
    if not any(each.loss.repeated for each in found.values()):
        numbers = listing([f"{variant} {signed(each.loss.value)}" for variant, each in found.items()])
        return [
            f"Points lost a round on average over datasets, one training each, by which nothing is called: {numbers}."
        ]
    told = []
    for sign, verb in ((1, "lose"), (-1, "gain")):
        named = [_told(variant, each.loss) for variant, each in found.items() if each.loses == sign]
        if named:
            told.append(f"Shown to {verb} accuracy within a round, on average over datasets: {listing(named)}.")
    told = told or ["No variant is shown to lose or gain accuracy within a round."]
    for sign, how in ((1, "more"), (-1, "less")):
        named = [_told(variant, present(each.difference)) for variant, each in found.items() if each.differs == sign]
        if named:
            told.append(f"Shown to lose {how} than {main}: {listing(named)}.")
    return told


def _told(variant: str, estimate: Estimate) -> str:
    # Sizes are positive, and so is what lies in their direction of the interval: the direction is in the words.
    low, high = present(estimate.interval)
    sized = (low, high) if estimate.value > 0 else (-high, -low)
    return f"{variant} ({points(estimate.value)} a round, 95 % interval {bounds(sized).replace('+', '')})"


def _evidence(results: Results, table: Mapping[str, Mapping[str, list[float]]]) -> str:
    """What the numbers are means of, and how little one case is."""
    names = {name for losses in table.values() for name in losses}
    rounds = sorted({len(results.runs[variant, seed].history["round"]) for variant in table for seed in results.seeds})
    span = plural(rounds[0], "round") if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]} rounds"
    sizes = [results.origin(name).splits["val"].n for name in names]
    cases = f"{min(sizes)}" if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)}"
    return (
        f"Each number is a mean over {span} ({seed_list(results.seeds)}), of {cases} validation cases; "
        f"{one_case(sizes)}."
    )


def forgetting_map(
    results: Results, table: Mapping[str, Mapping[str, list[float]]], found: Mapping[str, Finding]
) -> HeatMap:
    """Rows: datasets, their mean and its interval; columns: variants; points lost within a round."""
    means = {variant: {name: fmean(by_seed) for name, by_seed in losses.items()} for variant, losses in table.items()}
    names = [name for name in results.datasets if any(name in losses for losses in means.values())]
    scale = full_scale([value for losses in means.values() for value in losses.values()])
    on_page = [variant for variant in table if variant in results.beside_main]
    rows = [(results.title(name), [_cell(means[each].get(name), scale) for each in on_page]) for name in names]
    rows.append(("Mean", [_cell(found[each].loss.value, scale, mark=found[each].loses != 0) for each in on_page]))
    several = len(results.seeds) > 1
    if several:
        rows.append(("95 % interval", [_interval(found[each].loss) for each in on_page]))
    return HeatMap(
        name="forgetting",
        caption="Validation accuracy of the student right after the visit to a dataset, minus that at the end of the "
        "same round, in points, mean over rounds" + (" and seeds" if several else "") + ". Positive and orange: lost "
        f"while the others trained; full colour at {100 * scale:.1f} points. The dataset that is visited last has "
        "nothing after it, and is 0."
        + (
            " Intervals and tests are over trainings alone: other validation cases might have lost more or less. Bold "
            "with a star: shown to differ from 0."
            if several
            else ""
        ),
        corner="Dataset",
        header=on_page,
        rows=rows,
        rules=(*breaks([results.specialist(name) for name in names]), len(names)),
    )


def _cell(loss: float | None, scale: float, mark: bool = False) -> HeatCell:
    return HeatCell(NONE) if loss is None else HeatCell(signed(loss), tint(-loss, scale), mark=mark)


def _interval(loss: Estimate) -> HeatCell:
    return HeatCell(bounds(loss.interval) if loss.interval else NONE)
