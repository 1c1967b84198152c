"""Section: every dataset by itself, all variants side by side."""

import csv
import io
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.datasets import DATASETS
from pipeline.reporting.means import CHANCE_AUC, constant_answer
from pipeline.reporting.results import METRICS, Results
from pipeline.reporting.sentences import undefined_metrics
from pipeline.reporting.svg import INK, inline_svg, series, styled
from pipeline.reporting.table import Cell, Table, highest
from pipeline.reporting.wording import UNDEFINED, count, percent, spread


def build(results: Results) -> dict[str, Any]:
    """Content of the section."""
    return {
        "table": datasets_table(results),
        "figures": [(metric.upper(), _dot_plot(results, metric)) for metric in METRICS],
    }


def datasets_table(results: Results) -> Table:
    """Rows: datasets; columns: what each is, the best constant answer's ACC, and ACC and AUC of every variant."""
    rows = []
    for name in results.datasets:
        dataset, result = DATASETS[name], results.main_run.results[name]
        cells = [dataset.title, dataset.specialist, dataset.task, count(result.n), str(dataset.num_classes)]
        row = [*map(Cell, cells), Cell(percent(constant_answer(result)))]
        for metric in METRICS:
            texts = [seed_spread(results.values(variant, name, metric)) for variant in results.variants]
            row += [Cell(text, text in highest(texts)) for text in texts]
        rows.append(row)
    return Table(
        name="datasets",
        caption="Test ACC and AUC in percent by dataset. Bold: highest of its row. Constant: accuracy of always giving "
        "the most frequent test class (for ChestMNIST, for each label); its AUC is 50.",
        header=["Dataset", "Specialist", "Task", "Test n", "Classes", "Constant", *2 * results.variants],
        spans=[("", 5), ("ACC", 1 + len(results.variants)), ("AUC", len(results.variants))],
        rows=rows,
        text_columns=(1, 2),
        notes=undefined_metrics(results),
    )


def seed_spread(values: Sequence[float | None]) -> str:
    """Mean ± sample standard deviation of a metric over seeds; in words if undefined for any."""
    if any(value is None for value in values):
        return UNDEFINED
    return spread(fmean(values), stdev(values) if len(values) > 1 else None)


def results_csv(results: Results) -> str:
    """results.csv: one row per variant, seed and dataset, full precision; an undefined value is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["variant", "seed", "dataset", "specialist", "n", "acc", "auc", "loss"])
    for (variant, seed), run in results.runs.items():
        for name in results.datasets:
            result = run.results[name]
            specialist = DATASETS[name].specialist
            writer.writerow([variant, seed, name, specialist, result.n, result.acc, result.auc, result.loss])
    return file.getvalue()


@styled
def _dot_plot(results: Results, metric: str) -> Markup:
    """A row for each dataset, a marker for each variant, a tick for the constant answer."""
    names = results.datasets
    figure = Figure(figsize=(5.2, 1.0 + 0.22 * len(names)), layout="constrained")
    axes = figure.subplots()
    for index, variant in enumerate(results.variants):
        means = [_mean(results.values(variant, name, metric)) for name in names]
        rows = [row for row, mean in enumerate(means) if mean is not None]
        # Side by side within the row, so that equal values do not hide each other.
        offset = 0.5 * ((index + 0.5) / len(results.variants) - 0.5)
        values, places = [100 * means[row] for row in rows], [row + offset for row in rows]
        axes.plot(values, places, linestyle="none", label=variant, **series(index))
    constant = [
        100 * constant_answer(results.main_run.results[name]) if metric == "acc" else 100 * CHANCE_AUC for name in names
    ]
    axes.plot(constant, range(len(names)), "|", color=INK, markersize=8, label="constant answer")
    axes.set_yticks(range(len(names)), [DATASETS[name].title for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)  # the first dataset on top
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"test {metric.upper()}, %")
    figure.legend(loc="outside lower center", ncols=2)
    title = f"Test {metric.upper()} by dataset and variant"
    return inline_svg(figure, f"dots-{metric}", title, "The values are those of the table of datasets.")


def _mean(values: Sequence[float | None]) -> float | None:
    return None if any(value is None for value in values) else fmean(values)
