"""Section: what a dataset loses between its own visit and the end of the round, while the others train."""

import math
from statistics import fmean
from typing import Any

from pipeline.datasets import DATASETS
from pipeline.reporting.heat import HeatCell, HeatMap, breaks, full_scale, tint
from pipeline.reporting.means import TIE
from pipeline.reporting.results import Results
from pipeline.reporting.sentences import one_case
from pipeline.reporting.table import NONE
from pipeline.reporting.wording import listing, plural, points, signed


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section; None if no training validated after each visit."""
    table = {variant: losses for variant in results.variants if (losses := forgetting(results, variant))}
    if not table:
        return None
    sentences = [forgetting_sentence(variant, losses) for variant, losses in _told(results, table).items()]
    return {"sentences": [*sentences, _evidence(results, table)], "map": forgetting_map(results, table)}


def forgetting(results: Results, variant: str) -> dict[str, float]:
    """Accuracy after the visit minus accuracy at the end of the same round, mean over rounds and seeds, by dataset.

    Between the two only the others train. The best of all rounds minus the last one, as forgetting is often defined,
    would also count what a dataset's own later visits change, and is above 0 where nothing is shared.
    """
    losses = {}
    for name in results.datasets:
        values = []
        for seed in results.seeds:
            history = results.runs[variant, seed].history
            visits, ends = history.get(f"{name}/visit_acc", []), history.get(f"{name}/student_acc", [])
            pairs = zip(visits, ends, strict=False)
            values += [visit - end for visit, end in pairs if math.isfinite(visit) and math.isfinite(end)]
        if values:
            losses[name] = fmean(values)
    return losses


def _told(results: Results, table: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The main variant, and the ones that forget most and least of the others."""
    others = sorted((variant for variant in table if variant != results.main), key=lambda v: fmean(table[v].values()))
    names = [results.main] if results.main in table else []
    return {name: table[name] for name in dict.fromkeys([*names, *others[-1:], *others[:1]])}


def _evidence(results: Results, table: dict[str, dict[str, float]]) -> str:
    """What the numbers are means of, and how little one case is."""
    names = {name for losses in table.values() for name in losses}
    rounds = sorted({len(results.runs[variant, seed].history["round"]) for variant in table for seed in results.seeds})
    span = plural(rounds[0], "round") if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]} rounds"
    sizes = [results.origin(name).splits["val"].n for name in names]
    cases = f"{min(sizes)}" if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)}"
    seeds = f"{'seed' if len(results.seeds) == 1 else 'seeds'} {listing([str(seed) for seed in results.seeds])}"
    return f"Each number is a mean over {span} ({seeds}), of {cases} validation cases; {one_case(sizes)}."


def forgetting_sentence(variant: str, losses: dict[str, float]) -> str:
    """Mean and worst dataset of one variant."""
    mean, worst = fmean(losses.values()), max(losses, key=losses.__getitem__)
    if all(abs(loss) <= TIE for loss in losses.values()):
        return f"{variant} loses nothing within a round."
    change = "loses" if mean >= 0 else "gains"
    sentence = f"{variant} {change} {points(mean)} a round on average over {plural(len(losses), 'dataset')}"
    if losses[worst] <= 0:
        return f"{sentence}; no dataset loses."
    return f"{sentence}; {DATASETS[worst].title} loses most, {points(losses[worst])} a round."


def forgetting_map(results: Results, table: dict[str, dict[str, float]]) -> HeatMap:
    """Rows: datasets and their mean; columns: variants; points lost within a round."""
    names = [name for name in results.datasets if any(name in losses for losses in table.values())]
    scale = full_scale([value for losses in table.values() for value in losses.values()])
    rows = [(DATASETS[name].title, [_cell(losses.get(name), scale) for losses in table.values()]) for name in names]
    rows.append(("Mean", [_cell(fmean(losses.values()), scale) for losses in table.values()]))
    return HeatMap(
        name="forgetting",
        caption="Validation accuracy of the student right after the visit to a dataset, minus that at the end of the "
        "same round, in points, mean over rounds" + (" and seeds" if len(results.seeds) > 1 else "") + ". Positive and "
        f"orange: lost while the others trained; full colour at {100 * scale:.1f} points. The dataset that is visited "
        "last has nothing after it, and is 0.",
        corner="Dataset",
        header=list(table),
        rows=rows,
        rules=(*breaks([DATASETS[name].specialist for name in names]), len(names)),
    )


def _cell(loss: float | None, scale: float) -> HeatCell:
    return HeatCell(NONE) if loss is None else HeatCell(signed(loss), tint(-loss, scale))
