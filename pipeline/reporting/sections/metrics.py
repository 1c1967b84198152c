"""Section: what ACC and AUC do not show of the main variant."""

from statistics import fmean
from typing import Any

from pipeline.datasets import DATASETS
from pipeline.reporting.means import mean_over
from pipeline.reporting.results import Results
from pipeline.reporting.table import NONE, Cell, Table
from pipeline.reporting.wording import UNDEFINED, percent, points, with_unit

# Field of a result, heading, whether it is shown in percent.
COLUMNS = (
    ("acc", "ACC", True),
    ("balanced_acc", "Balanced ACC", True),
    ("macro_f1", "Macro F1", True),
    ("ece", "ECE", True),
    ("loss", "NLL, nats", False),
)


def build(results: Results) -> dict[str, Any]:
    """Content of the section: the table, and sentences on the metrics that single tasks have."""
    return {"table": metrics_table(results), "sentences": task_sentences(results)}


def value(results: Results, name: str, key: str) -> float | None:
    """A field of the main variant's results, mean over seeds; None if undefined for any."""
    values = results.values(results.main, name, key)
    return None if any(each is None for each in values) else fmean(values)


def metrics_table(results: Results) -> Table:
    """Rows: datasets and their mean; columns: balanced accuracy, macro F1, calibration error, likelihood."""
    table = {name: [value(results, name, key) for key, _, _ in COLUMNS] for name in results.datasets}
    rows = [
        [Cell(DATASETS[name].title), Cell(DATASETS[name].specialist), *map(_cell, row, COLUMNS)]
        for name, row in table.items()
    ]
    columns = [[each for each in column if each is not None] for column in zip(*table.values(), strict=True)]
    means = [fmean(column) if len(column) == len(table) else None for column in columns]
    return Table(
        name="metrics",
        caption=f"{results.main}: balanced accuracy is the mean of the classes' sensitivities, macro F1 the mean of "
        "their F1; ECE the mean gap between confidence and accuracy over 15 bins; all in percent. NLL is the mean "
        "-log p of the truth. For ChestMNIST all are taken over yes/no answers, and means over labels."
        + (" Those of the other variants are in results.csv." if results.others else ""),
        header=["Dataset", "Group", *(title for _, title, _ in COLUMNS)],
        rows=[*rows, [Cell("Mean"), Cell(""), *map(_cell, means, COLUMNS)]],
        text_columns=(1,),
        separator=len(rows),
    )


def _cell(number: float | None, column: tuple[str, str, bool]) -> Cell:
    if number is None:
        return Cell(NONE)
    return Cell(percent(number) if column[2] else f"{number:.3f}", order=number)


def task_sentences(results: Results) -> list[str]:
    """What only ordinal and multi-label tasks have, and what counting grades as MOSAIC's code does would change."""
    sentences = []
    for name in results.datasets:
        title = DATASETS[name].title
        within, exact = value(results, name, "acc_within_one"), value(results, name, "acc")
        if within is not None and exact is not None:
            kappa, mae = (_number(value(results, name, key)) for key in ("quadratic_kappa", "mae"))
            sentences.append(
                f"{title} has ordered grades: quadratic kappa {kappa}, mean absolute error {mae} grades, "
                f"{with_unit(within)} within one grade."
            )
            mean = mean_over(results, results.main, "acc", results.datasets)
            if name in mean.datasets:
                counted = mean.value + (within - exact) / len(mean.datasets)
                sentences.append(
                    f"The released code of MOSAIC counts an answer within one grade of {title} as right, and reports "
                    f"that as accuracy. Counted so, the mean accuracy would be {with_unit(counted)} instead of "
                    f"{with_unit(mean.value)}, {points(counted - mean.value)} more for the same answers."
                )
        if (precision := value(results, name, "map")) is not None:
            sentences.append(
                f"{title} has rare labels: mean average precision over labels is {with_unit(precision)}, where "
                "accuracy counts mostly right answers of “no”."
            )
    return sentences


def _number(number: float | None) -> str:
    return UNDEFINED if number is None else f"{number:.2f}"
