"""Section: every variant beside the main one: paired differences, non-inferiority, and what each costs.

The table of variants, which belongs to the answer, is made here too.
"""

from typing import Any

import numpy as np

from mosaic_pipeline.reporting.comparisons import ALPHA, Comparison, compare_all, planned
from mosaic_pipeline.reporting.figures.forest import forest_plot
from mosaic_pipeline.reporting.figures.scatter import scatter_plot
from mosaic_pipeline.reporting.means import mean_over, over
from mosaic_pipeline.reporting.results import METRICS, Results
from mosaic_pipeline.reporting.sentences import TITLES, undefined_metrics
from mosaic_pipeline.reporting.table import NONE, Cell, Table
from mosaic_pipeline.reporting.wording import bounds, listing, p_value, points, range_percent, short, signed, spread

# A sign for what is called, beside the word: colour alone would say nothing in print or to a screen reader.
VERDICTS = {"higher": "▲ higher", "lower": "▼ lower"}


def build(results: Results) -> dict[str, Any]:
    """Content of the section; figures as (metric, figure)."""
    compared = {metric: compare_all(results, metric) for metric in METRICS}
    shown = {
        metric: {other: each for other, each in table.items() if other in results.on_page}
        for metric, table in compared.items()
    }
    return {
        "no_worse": no_worse_table(results),
        "repeated": len(results.seeds) > 1,
        "forest": [(TITLES[metric], forest_plot(table)) for metric, table in shown.items() if table],
        "scatter": [
            (TITLES[metric], figure) for metric in METRICS if (figure := scatter_plot(results, metric)) is not None
        ],
    }


def variants_table(results: Results) -> Table:
    """Rows: variants; columns: trainable parameters, then mean, difference, p and verdict of ACC and of AUC."""
    compared = {metric: compare_all(results, metric) for metric in METRICS}
    repeated = len(results.seeds) > 1
    columns = ("Difference", "p", "Called") if repeated else ("Difference",)
    rows = []
    for variant in results.variants:
        trainable = results.runs[variant, results.seeds[0]].training.parameters.trainable
        row = [Cell(variant, below=results.reason(variant)), Cell(short(trainable), order=trainable)]
        for metric in METRICS:
            mean = mean_over(results, variant, metric, results.datasets)
            row.append(
                Cell(
                    spread(mean.value, mean.std),
                    below=range_percent(mean.interval) if mean.interval else "",
                    order=mean.value,
                )
            )
            row += _difference_cells(compared[metric].get(variant))[: len(columns)]
        rows.append(row)
    sds = f" ± sample standard deviation over {len(results.seeds)} seeds" if len(results.seeds) > 1 else ""
    return Table(
        name="variants",
        caption=f"Mean test ACC and AUC in percent{sds}, with the 95\u00a0% interval over {over(results)}. "
        f"Difference: variant minus {results.main}, in points.",
        header=["Variant", "Trainable", *len(METRICS) * ("Mean", *columns)],
        spans=[("", 2), *((TITLES[metric], 1 + len(columns)) for metric in METRICS)],
        rows=rows,
        text_columns=(5, 9) if repeated else (),
        notes=[_how_called(results), *undefined_metrics(results), *not_run(results)],
        sortable=True,
    )


def not_run(results: Results) -> list[str]:
    """Name the variants that have a reason to be but are not in this report."""
    names = [variant for variant in results.reasons if variant not in results.variants]
    return [f"Defined in params.yaml and not run here: {listing(names)}."] if names else []


def _how_called(results: Results) -> str:
    """What a call takes, and what the other verdicts mean."""
    if len(results.seeds) == 1:
        return "One training each: differences are between these trainings, and none is called."
    return (
        "p: the larger one of the mean's, over trainings and test cases, and of the signed-rank test's over datasets, "
        f"each adjusted over the variants{_first(results)}. A difference is called higher or lower if this p is "
        f"below {ALPHA} and both tests point the same way; unclear: its interval alone excludes 0; within noise: it "
        f"includes 0; too few differ: so few datasets that p could not be below {ALPHA} if they all agreed."
    )


def _first(results: Results) -> str:
    """What is said of the planned comparison, where there is one and others beside it."""
    return ", the planned one first" if planned(results) and len(results.others) > 1 else ""


def no_worse_table(results: Results) -> Table | None:
    """Rows: other variants; how far the main one could be below them, and whether that is less than the margin.

    None without a margin, without other variants or with one training each.
    """
    if results.margin is None or len(results.seeds) == 1 or not results.others:
        return None
    rows = []
    for other in results.others_on_page:
        row = [Cell(other)]
        for metric in METRICS:
            found = compare_all(results, metric).get(other)
            row += [Cell(NONE)] * 3 if found is None else _no_worse_cells(found)
        rows.append(row)
    return Table(
        name="no-worse",
        caption=f"Is {results.main} worse by less than {points(results.margin)} (non-inferiority)? At worst: the lower "
        f"end of the 95\u00a0% interval of {results.main} minus the variant, in points. p: one-sided, of the "
        f"hypothesis that it is worse by the margin or more, adjusted over the variants{_first(results)}, and shown if "
        "below 0.025, which is where a single interval ends at the margin.",
        header=["Variant", *len(METRICS) * ("At worst", "p", "Worse by less")],
        spans=[("", 1), *((TITLES[metric], 3) for metric in METRICS)],
        rows=rows,
        text_columns=(3, 6),
    )


def _no_worse_cells(found: Comparison) -> list[Cell]:
    worst = NONE if found.interval is None else signed(-found.interval[1])
    shown = "shown" if found.no_worse else "not shown"
    return [Cell(worst), Cell(p_value(found.margin_p).removeprefix("= ")), Cell(shown, found.no_worse)]


def _difference_cells(comparison: Comparison | None) -> list[Cell]:
    if comparison is None:
        return [Cell(NONE)] * 3
    p = float(np.maximum(comparison.p, comparison.rank_p))
    return [
        Cell(
            signed(comparison.difference),
            comparison.called,
            below=bounds(comparison.interval) if comparison.interval else "",
            order=comparison.difference,
        ),
        Cell(p_value(p).removeprefix("= "), below="planned" if comparison.planned else "", order=p),
        Cell(VERDICTS.get(comparison.verdict, comparison.verdict), comparison.called),
    ]
