"""Section: every dataset by itself and by group, all variants side by side."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from mosaic_pipeline.reporting.means import constant_mean, groups, mean_over, over
from mosaic_pipeline.reporting.origin import describe_findings
from mosaic_pipeline.reporting.results import METRICS, Results
from mosaic_pipeline.reporting.sentences import TITLES, not_above_constant, undefined_metrics
from mosaic_pipeline.reporting.table import NONE, Cell, Table
from mosaic_pipeline.reporting.wording import UNDEFINED, count, listing, percent, plural, spread, tight_range

UNITS = {False: "class", True: "label"}


def build(results: Results) -> dict[str, Any]:
    """Content of the section."""
    found = [(results.title(name), describe_findings(results, name)) for name in results.datasets]
    read = [(results.title(name), results.origin(name).notes) for name in results.datasets]
    return {
        "groups": groups_table(results),
        "tables": [datasets_table(results, metric) for metric in METRICS],
        "findings": [(title, sentences) for title, sentences in found if sentences],
        "notes": [(title, sentences) for title, sentences in read if sentences],
    }


def datasets_table(results: Results, metric: str) -> Table:
    """Rows: datasets with their size; columns: the constant answer, and the metric of every variant."""
    rows = []
    for name in results.datasets:
        dataset, result = results.dataset(name), results.main_run.results[name]
        constant = constant_mean(results, metric, (name,))
        classes = plural(dataset.num_classes, UNITS[dataset.multi_label])
        about = f"{results.specialist(name)}, n {count(result.n)}, {classes}"
        row = [Cell(results.title(name), below=about), Cell(percent(constant))]
        for variant in results.beside_main:
            interval = mean_over(results, variant, metric, (name,)).interval
            text = seed_spread(results.values(variant, name, metric))
            row.append(Cell(text, below=tight_range(interval) if interval else NONE))
        rows.append(row)
    return Table(
        name=f"datasets-{metric}",
        caption=f"Test {TITLES[metric]} in percent by dataset (specialist group, test images, classes), with the "
        f"95\u00a0% interval over {over(results)}. Constant: the answer that always gives the most frequent class (of "
        f"several labels, for each){_not_above(results, metric)}. {NONE}: no interval, because no case varies or a "
        "class has a single one. What is called a difference is in the maps above.",
        header=["Dataset", "Constant", *results.beside_main],
        rows=rows,
        notes=undefined_metrics(results) if metric == "auc" else [],
        sortable=True,
    )


def _not_above(results: Results, metric: str) -> str:
    """Where the main variant is no better than the constant answer, as the end of a sentence; empty if nowhere."""
    titles = not_above_constant(results, metric)
    return f"; {results.main} is not above it on {listing(titles)}" if titles else ""


def groups_table(results: Results) -> Table:
    """Rows: variants; columns: ACC and AUC for all datasets, 2D, 3D and each specialist's."""
    by_group = groups(results)
    columns = [(metric, names) for names in by_group.values() for metric in METRICS]
    rows = []
    for variant in results.beside_main:
        means = [mean_over(results, variant, metric, names) for metric, names in columns]
        rows.append([Cell(variant), *(Cell(spread(mean.value, mean.std)) for mean in means)])
    return Table(
        name="groups",
        caption="Mean test ACC and AUC in percent over groups of datasets"
        + (f", mean ± sample standard deviation over {len(results.seeds)} seeds" if len(results.seeds) > 1 else "")
        + ". Differences between groups are not tested.",
        header=["Variant", *(TITLES[metric] for metric, _ in columns)],
        spans=[("", 1), *((_group_title(group, names), len(METRICS)) for group, names in by_group.items())],
        rows=[*rows, _constant_means(results, columns)],
        separator=len(rows),
    )


def _constant_means(results: Results, columns: list[tuple[str, tuple[str, ...]]]) -> list[Cell]:
    cells = [Cell("constant answer")]
    for metric, names in columns:
        cells.append(Cell(percent(constant_mean(results, metric, names))))
    return cells


def _group_title(group: str, names: tuple[str, ...]) -> str:
    title = {"mean": "All", "2d": "2D", "3d": "3D"}.get(group, group)
    return f"{title} ({len(names)})"


def seed_spread(values: Sequence[float | None]) -> str:
    """Mean ± sample standard deviation of a metric over seeds; in words if undefined for any."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return UNDEFINED
    return spread(fmean(known), stdev(known) if len(known) > 1 else None)
