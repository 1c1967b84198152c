"""Section: the answer in sentences made from the tests, what to know before quoting it, and the table of variants."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mosaic_pipeline.reporting.table import NONE, Cell, Table
from mosaic_pipeline.reporting.wording import bounds, listing, p_value, plural, range_percent, short, signed, spread
from mosaic_pipeline.segmentation.evaluation.statistics import Comparison
from mosaic_pipeline.segmentation.reporting.means import Mean, mean_over
from mosaic_pipeline.segmentation.reporting.origin import describe_origin
from mosaic_pipeline.segmentation.reporting.results import TESTED, TITLES, Results
from mosaic_pipeline.segmentation.reporting.sections.setup import modality
from mosaic_pipeline.segmentation.reporting.sentences import (
    FEW,
    compared,
    interval_of,
    is_called,
    lead,
    questions,
    seeds,
    verdict_words,
)

SHOWN = 6  # comparisons in words that are always open
SIGNS = {"higher": "▲ higher", "lower": "▼ lower"}
METHOD = (
    "M4oE (Jiang and Shen, MICCAI 2024) segments slices of scans by a SwinUNet, in whose blocks experts take the place "
    "of the MLP: one for each modality, which train first on their own sets alone (hard routing), and then a gate that "
    "mixes them. Each set has a head of its own, as sets annotate different organs."
)


@dataclass(frozen=True)
class Caveat:
    """A label of a few words, what follows from it, and the section of the page that explains it."""

    label: str
    follows: str
    section: str = "limits"


def build(results: Results) -> dict[str, Any]:
    """Content of the section: comparisons are (variant, its reason, sentences)."""
    asked = questions(results) or list(results.others)
    rest = [other for other in results.others if other not in asked] if results.by_patient else []
    comparisons = in_words(results, [other for other in rest if other in results.on_page])
    return {
        "lead": lead(results),
        "caveats": caveats(results),
        "table": variants_table(results),
        "sentences": [*level(results), seeds(results)],
        "about": [METHOD, describe_run(results)],
        "comparisons": comparisons[:SHOWN],
        "more": comparisons[SHOWN:],
    }


def in_words(results: Results, others: Sequence[str]) -> list[tuple[str, str, list[str]]]:
    """Variant, its reason and sentences that compare it, of each that is compared."""
    return [(other, results.reason(other), [compared(results, other)]) for other in others if results.by_patient]


def caveats(results: Results) -> list[Caveat]:
    """What a reader must know before quoting a number."""
    origin, found = describe_origin(results), []
    if origin.warning:
        found.append(Caveat(origin.label, origin.brief))
    if len(results.seeds) == 1:
        found.append(Caveat("One training each", "no difference is called"))
    least = min(results.result(name).patients for name in results.counted)
    if least < FEW:
        found.append(Caveat("Few patients", f"as few as {plural(least, 'test patient')} of a set", "data"))
    if any(results.result(name).findings for name in results.datasets):
        found.append(Caveat("Odd data", "said with the data", "data"))
    return found


def level(results: Results) -> list[str]:
    """Where the main variant stands by itself."""
    dsc, nsd = (mean_over(results, results.main, metric) for metric in TESTED)
    if dsc.value is None:
        return [f"No test case has an organ, so {results.main} has no DSC."]
    over = f", then {len(results.counted)} sets" if len(results.counted) > 1 else ""
    return [
        f"{results.main} reaches a DSC of {_with_interval(dsc)} and an NSD of {_with_interval(nsd)} (mean over "
        f"organs{over})."
    ]


def _with_interval(mean: Mean) -> str:
    text = f"{spread(mean.value, mean.std)}\u00a0%"
    return f"{text} (95\u00a0% CI {range_percent(mean.interval)})" if mean.interval else text


def describe_run(results: Results) -> str:
    """Say in a sentence what was trained on what."""
    config = results.configs[results.main]
    sets = [
        f"{each.title} ({modality(each.modality)}, {plural(len(each.organs), 'organ')})"
        for each in map(results.result, results.datasets)
    ]
    rounds = sum(config.rounds.values())
    return (
        f"Here {plural(len(results.variants), 'variant')} trained on {'; '.join(sets)}, on slices of "
        f"{config.model.size} px, for at most {plural(rounds, 'round')} each, "
        f"{plural(len(results.seeds), 'seed')} ({', '.join(map(str, results.seeds))})."
    )


def variants_table(results: Results) -> Table:
    """Rows: variants; columns: parameters, then mean, difference, p and verdict of DSC and NSD, and HD95."""
    repeated = len(results.seeds) > 1
    columns = ("Difference", "p", "Called") if repeated else ("Difference",)
    rows = []
    for variant in results.variants:
        total = results.runs[variant, results.seeds[0]].training.parameters.total
        row = [Cell(variant, below=results.reason(variant)), Cell(short(total), order=total)]
        for metric in TESTED:
            mean = mean_over(results, variant, metric)
            row.append(
                Cell(
                    spread(mean.value, mean.std),
                    below=range_percent(mean.interval) if mean.interval else "",
                    order=mean.value,
                )
            )
            row += _difference_cells(results.comparisons[metric].get(variant))[: len(columns)]
        distance = mean_over(results, variant, "hd95")
        row.append(Cell(NONE if distance.value is None else f"{distance.value:.1f}", order=distance.value))
        rows.append(row)
    over = "trainings and patients" if repeated else "patients"
    sds = f" ± sample standard deviation over {len(results.seeds)} seeds" if repeated else ""
    return Table(
        name="variants",
        caption=f"Mean test DSC and NSD in percent{sds}, with the 95\u00a0% interval over {over}, and HD95 in mm "
        "(less is "
        f"better). Difference: variant minus {results.main}, in points.",
        header=["Variant", "Parameters", *len(TESTED) * ("Mean", *columns), "HD95, mm"],
        spans=[("", 2), *((TITLES[metric], 1 + len(columns)) for metric in TESTED), ("", 1)],
        rows=rows,
        text_columns=(5, 9) if repeated else (),
        notes=[how_called(results), *counted(results), *not_run(results)],
        sortable=True,
    )


def _difference_cells(comparison: Comparison | None) -> list[Cell]:
    if comparison is None:
        return [Cell(NONE)] * 3
    p, interval = float(np.maximum(comparison.p, comparison.rank_p)), interval_of(comparison)
    value, called, word = comparison.estimate.value, is_called(comparison), verdict_words(comparison)
    return [
        Cell(signed(value), called, below=bounds(interval) if interval else "", order=value),
        Cell(p_value(p).removeprefix("= "), order=p),
        Cell(SIGNS.get(word, word), called),
    ]


def how_called(results: Results) -> str:
    """What a call takes."""
    if len(results.seeds) == 1:
        return (
            "One training each: differences, and their intervals over patients, are of these trainings, and none "
            "is called."
        )
    return (
        "p: the larger one of the mean's, over trainings and patients, and of the signed-rank test's over patients, "
        "each adjusted over the variants by Holm. Higher or lower is what both call below 0.05, in one direction; all "
        "else is unclear: within noise if the interval includes 0, too few differ if no p could be below 0.05."
    )


def counted(results: Results) -> list[str]:
    """Say of which sets means over sets are, if not of all."""
    if results.counted == results.datasets:
        return []
    return [f"Means over sets are of {listing([results.title(name) for name in results.counted])} alone."]


def not_run(results: Results) -> list[str]:
    """Name the variants that have a reason to be but are not in this report."""
    names = [variant for variant in results.reasons if variant not in results.variants]
    return [f"Defined in params.yaml and not run here: {', '.join(names)}."] if names else []
