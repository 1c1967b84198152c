"""Section: every variant beside the main one: means, paired differences, tests, and what each costs."""

from typing import Any

from pipeline.reporting.comparisons import ALPHA, Comparison, compare_all
from pipeline.reporting.figures.forest import forest_plot
from pipeline.reporting.figures.scatter import scatter_plot
from pipeline.reporting.means import mean_over
from pipeline.reporting.results import METRICS, Results
from pipeline.reporting.sentences import TITLES, undefined_metrics
from pipeline.reporting.table import NONE, Cell, Table
from pipeline.reporting.wording import bounds, listing, p_value, range_percent, short, signed, spread

# A sign for what is called, beside the word: colour alone would say nothing in print or to a screen reader.
VERDICTS = {"higher": "▲ higher", "lower": "▼ lower"}


def build(results: Results) -> dict[str, Any]:
    """Content of the section; figures as (metric, figure)."""
    compared = {metric: compare_all(results, metric) for metric in METRICS}
    return {
        "table": variants_table(results),
        "forest": [(TITLES[metric], forest_plot(table)) for metric, table in compared.items() if table],
        "scatter": [
            (TITLES[metric], figure) for metric in METRICS if (figure := scatter_plot(results, metric)) is not None
        ],
    }


def variants_table(results: Results) -> Table:
    """Rows: variants; columns: trainable parameters, then mean, difference, p and verdict of ACC and of AUC."""
    compared = {metric: compare_all(results, metric) for metric in METRICS}
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
            row += _difference_cells(compared[metric].get(variant))
        rows.append(row)
    sds = f" ± sample standard deviation over {len(results.seeds)} seeds" if len(results.seeds) > 1 else ""
    return Table(
        name="variants",
        caption=f"Mean test ACC and AUC in percent{sds}, with the 95\u00a0% bootstrap interval over test cases. "
        f"Difference: variant minus {results.main}, in points, with its paired interval. p: signed-rank test over "
        "datasets, adjusted by Holm over the variants. A difference is called higher or lower only if its interval "
        f"excludes 0 and p is below {ALPHA}; unclear: the interval alone excludes 0; within noise: it includes 0; too "
        f"few differ: so few datasets that p could not be below {ALPHA} if they all agreed.",
        header=["Variant", "Trainable", *len(METRICS) * ("Mean", "Difference", "p", "Called")],
        spans=[("", 2), *((TITLES[metric], 4) for metric in METRICS)],
        rows=rows,
        text_columns=(5, 9),
        notes=[*undefined_metrics(results), *not_run(results)],
        sortable=True,
    )


def not_run(results: Results) -> list[str]:
    """Name the variants that have a reason to be but are not in this report."""
    names = [variant for variant in results.reasons if variant not in results.variants]
    return [f"Defined in params.yaml and not run here: {listing(names)}."] if names else []


def _difference_cells(comparison: Comparison | None) -> list[Cell]:
    if comparison is None:
        return [Cell(NONE)] * 3
    return [
        Cell(
            signed(comparison.difference),
            comparison.called,
            below=bounds(comparison.interval),
            order=comparison.difference,
        ),
        Cell(p_value(comparison.p).removeprefix("= "), order=comparison.p),
        Cell(VERDICTS.get(comparison.verdict, comparison.verdict), comparison.called),
    ]
