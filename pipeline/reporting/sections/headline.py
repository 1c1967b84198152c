"""Section: what the numbers say, and the means they say it of."""

from typing import Any

from pipeline.reporting.means import CHANCE_AUC, constant_answer, groups, mean_over
from pipeline.reporting.results import METRICS, Results
from pipeline.reporting.sentences import headline, undefined_metrics
from pipeline.reporting.table import Cell, Table, highest
from pipeline.reporting.wording import percent, spread


def build(results: Results) -> dict[str, Any]:
    """Content of the section."""
    return {"sentences": headline(results), "means": means_table(results)}


def means_table(results: Results) -> Table:
    """Rows: variants; columns: ACC and AUC for all datasets, 2D, 3D and each specialist's."""
    by_group = groups(results.datasets)
    columns = [(metric, names) for names in by_group.values() for metric in METRICS]
    values = [[mean_over(results, variant, metric, names) for metric, names in columns] for variant in results.variants]
    best = _best_in_columns([[percent(mean.value) for mean in row] for row in values])
    rows = [
        [Cell(variant), *(Cell(spread(mean.value, mean.std), mark) for mean, mark in zip(row, marks, strict=True))]
        for variant, row, marks in zip(results.variants, values, best, strict=True)
    ]
    return Table(
        name="means",
        caption="Mean test ACC and AUC in percent over groups of datasets"
        + (f", mean ± sample standard deviation over {len(results.seeds)} seeds" if len(results.seeds) > 1 else "")
        + ". Bold: highest of its column. Differences in the sentences are taken before rounding.",
        header=["Variant", *(metric.upper() for metric, _ in columns)],
        spans=[("", 1), *((_group_title(group, names), len(METRICS)) for group, names in by_group.items())],
        rows=[*rows, _constant_means(results, columns)],
        separator=len(rows),
        notes=undefined_metrics(results),
    )


def _constant_means(results: Results, columns: list[tuple[str, tuple[str, ...]]]) -> list[Cell]:
    cells = [Cell("constant answer")]
    for metric, names in columns:
        accuracies = [constant_answer(results.main_run.results[name]) for name in names]
        cells.append(Cell(percent(sum(accuracies) / len(accuracies) if metric == "acc" else CHANCE_AUC)))
    return cells


def _group_title(group: str, names: tuple[str, ...]) -> str:
    title = {"mean": "All", "2d": "2D", "3d": "3D"}.get(group, group)
    return f"{title} ({len(names)})"


def _best_in_columns(texts: list[list[str]]) -> list[list[bool]]:
    best = [highest(list(column)) for column in zip(*texts, strict=True)]
    return [[text in highest for text, highest in zip(row, best, strict=True)] for row in texts]
