"""Section: what a set becomes through another set's expert, how alike experts are, and how gradients lie."""

from typing import Any

import numpy as np

from mosaic_pipeline.reporting.heat import HeatCell, HeatMap, decimal, tint
from mosaic_pipeline.reporting.table import NONE
from mosaic_pipeline.reporting.wording import listing, percent, plural
from mosaic_pipeline.segmentation.reporting.records import Analysis, Conflicts, Counterfactual, Similarity
from mosaic_pipeline.segmentation.reporting.results import Results
from mosaic_pipeline.segmentation.reporting.sentences import only_first


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section: (variant, sentence, maps) for each variant that was looked into."""
    parts = []
    for place, (variant, analyses) in enumerate(results.analyses.items()):
        if variant not in results.on_page:
            continue
        maps, sentence, note = [], "", only_first(results, variant)
        of_experts = analyses[:1] if note else analyses
        swapped = [each.counterfactual for each in of_experts if each.counterfactual]
        if swapped and len(swapped[0].experts) > 1:
            table = mean_table([each.dsc for each in swapped])
            maps.append(counterfactual_map(results, variant, swapped[0], table, of_experts, place, note))
            sentence = own_sentence(results, variant, swapped[0], table) + note
        if (alike := [each.similarity for each in of_experts if each.similarity]) and len(alike[0].experts) > 1:
            maps.append(similarity_map(alike, place, note))
        if (gradients := [each.conflicts for each in analyses if each.conflicts]) and len(gradients[0].datasets) > 1:
            maps.append(conflicts_map(results, gradients, place))
        if maps:
            parts.append((variant, sentence, maps))
    return {"parts": parts} if parts else None


def mean_table(tables: list[list[list[float | None]]]) -> np.ndarray:
    """Mean of like tables, nan where one of them is undefined."""
    return np.mean([np.array(table, dtype=np.float64) for table in tables], axis=0)


def own_sentence(results: Results, variant: str, found: Counterfactual, table: np.ndarray) -> str:
    """On how many sets the own expert is the best."""
    of = results.configs[variant].experts.of
    best = [
        results.title(name)
        for name, row in zip(found.datasets, table, strict=True)
        if of.get(name) in found.experts and not np.isnan(row).any() and row.argmax() == found.experts.index(of[name])
    ]
    sets = plural(len(found.datasets), "set")
    return f"The own expert is the best one on {len(best)} of {sets}{': ' + listing(best) if best else ''}. Not tested."


def counterfactual_map(
    results: Results,
    variant: str,
    found: Counterfactual,
    table: np.ndarray,
    analyses: tuple[Analysis, ...],
    place: int,
    note: str,
) -> HeatMap:
    """Rows: sets; columns: experts; the own one is framed."""
    of = results.configs[variant].experts.of
    rows = []
    for name, row in zip(found.datasets, table, strict=True):
        cells = [
            HeatCell(
                NONE if np.isnan(value) else percent(float(value)),
                None if np.isnan(value) else float(value),
                own=of.get(name) == expert,
            )
            for expert, value in zip(found.experts, row, strict=True)
        ]
        rows.append((results.title(name), cells))
    return HeatMap(
        name=f"counterfactual-{place}",
        caption="Mean DSC in percent of validation slices of each set (rows) through each expert alone (columns), on "
        "the "
        f"network's grid; frame: the own expert. {_looked_at(analyses)}.{note}",
        corner="Set",
        header=list(found.experts),
        rows=rows,
    )


def similarity_map(found: list[Similarity], place: int, note: str) -> HeatMap:
    """Rows and columns: experts; linear CKA, mean over layers."""
    first = found[0]
    table = np.mean([np.array(each.cka, dtype=np.float64).mean(axis=0) for each in found], axis=0)
    return _square(
        table,
        list(first.experts),
        list(first.experts),
        name=f"similarity-{place}",
        caption=f"How alike the experts' outputs are: linear CKA, mean over {plural(len(first.layers), 'layer')}."
        + note,
        corner="Expert",
    )


def conflicts_map(results: Results, found: list[Conflicts], place: int) -> HeatMap:
    """Rows and columns: sets; cosine of their gradients."""
    titles = [results.title(name) for name in found[0].datasets]
    return _square(
        mean_table([each.cosine for each in found]),
        titles,
        titles,
        name=f"conflicts-{place}",
        caption="Cosine between the gradients of two sets in what they share; below 0 (orange) they pull apart.",
        corner="Set",
    )


def _square(
    table: np.ndarray, titles: list[str], header: list[str], *, name: str, caption: str, corner: str
) -> HeatMap:
    rows = []
    for title, row in zip(titles, table, strict=True):
        cells = [
            HeatCell(NONE) if np.isnan(value) else HeatCell(decimal(float(value)), tint(float(value), 1.0))
            for value in row
        ]
        rows.append((title, cells))
    return HeatMap(name=name, caption=caption, corner=corner, header=header, rows=rows)


def _looked_at(analyses: tuple[Analysis, ...]) -> str:
    seeds = ", ".join(str(each.seed) for each in analyses)
    mean = f"Seed {seeds}" if len(analyses) == 1 else f"Mean over seeds {seeds}"
    return f"{mean}, up to {plural(analyses[0].cases, 'validation slice')} of each set"
