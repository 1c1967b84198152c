"""Section: what ACC and AUC do not show of the main variant."""

from statistics import fmean
from typing import Any

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation.temperature import BOUNDS
from mosaic_pipeline.present import all_present, present
from mosaic_pipeline.reporting.means import mean_over
from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.table import NONE, Cell, Table
from mosaic_pipeline.reporting.wording import UNDEFINED, listing, percent, plain, points, with_unit

RELEASED_WITHIN_ONE = "retinamnist"  # of which the method's released code counts answers within one grade as right
# Field of a result, heading, whether it is shown in percent.
Columns = tuple[tuple[str, str, bool], ...]
PREDICTIONS: Columns = (("acc", "ACC", True), ("balanced_acc", "Balanced ACC", True), ("macro_f1", "Macro F1", True))
CALIBRATION: Columns = (
    *(("ece", "ECE", True), ("brier", "Brier", False), ("loss", "NLL, nats", False)),
    *(("ece_scaled", "ECE", True), ("brier_scaled", "Brier", False), ("loss_scaled", "NLL, nats", False)),
)


def build(results: Results) -> dict[str, Any]:
    """Content of the section: two tables, and sentences on single tasks and on temperatures without a meaning."""
    return {
        "tables": [metrics_table(results), calibration_table(results)],
        "sentences": task_sentences(results) + bound_sentences(results),
    }


def value(results: Results, name: str, key: str) -> float | None:
    """A field of the main variant's results, mean over seeds; None if undefined for any."""
    values = results.values(results.main, name, key)
    return None if any(each is None for each in values) else fmean(all_present(values))


def metrics_table(results: Results) -> Table:
    """Rows: datasets and their mean; columns: balanced accuracy, macro F1."""
    rows = _rows(results, PREDICTIONS)
    return Table(
        name="metrics",
        caption=f"{results.main}: balanced accuracy is the mean of the classes' sensitivities, macro F1 the mean of "
        "their F1; all in percent."
        + _of_labels(results, "all are taken over yes/no answers, and means over labels.")
        + (" Those of the other variants are in results.csv." if results.others else ""),
        header=["Dataset", "Group", *(title for _, title, _ in PREDICTIONS)],
        rows=rows,
        text_columns=(1,),
        separator=len(rows) - 1,
    )


def calibration_table(results: Results) -> Table:
    """Rows: datasets and their mean; columns: calibration before and after temperature scaling, and the temperature."""
    rows = _rows(results, CALIBRATION)
    temperatures = [value(results, name, "temperature") for name in results.datasets]
    cells = [Cell(NONE) if t is None else Cell(f"{t:.2f}", order=t) for t in (*temperatures, None)]
    return Table(
        name="calibration",
        caption=f"{results.main}: whether it is as often right as it is sure, on test cases, as trained and with each "
        "dataset's logits divided by one temperature T, at which its validation cases are likeliest (Guo et al., "
        "2017); no test case had a part in it. ECE, in percent, is the mean gap between confidence and accuracy over "
        "15 bins; Brier the squared difference between probabilities and truth, summed over classes, 0 to 2; NLL the "
        "mean -log p of the truth."
        + _of_labels(results, "all are means over yes/no answers.")
        + " T above 1 means that the model was too sure. It leaves ACC as it is; AUC, which it may change a "
        "little, is given without it everywhere.",
        header=["Dataset", "Group", *(title for _, title, _ in CALIBRATION), "T"],
        rows=[[*row, cell] for row, cell in zip(rows, cells, strict=True)],
        spans=[("", 2), ("As trained", 3), ("At temperature T", 3), ("", 1)],
        text_columns=(1,),
        separator=len(rows) - 1,
    )


def bound_sentences(results: Results) -> list[str]:
    """Say for which datasets the likeliest temperature is out of range, if there are any."""
    at_bound = [
        results.title(name)
        for name in results.datasets
        if any(t in BOUNDS for t in results.values(results.main, name, "temperature"))
    ]
    if not at_bound:
        return []
    low, high = map(plain, BOUNDS)
    return [
        f"The temperature of {listing(at_bound)} is a bound of its range, {low} to {high}: validation would have it "
        "further out, as where all answers are right or no better than chance; what is scaled by it means little."
    ]


def _of_labels(results: Results, said: str) -> str:
    """A sentence on the datasets with several labels for an image; empty if there are none."""
    titles = [results.title(name) for name in results.datasets if results.dataset(name).multi_label]
    return f" For {listing(titles)} {said}" if titles else ""


def _rows(results: Results, columns: Columns) -> list[list[Cell]]:
    """A row for each dataset, and last the mean over datasets of the columns that are defined for all of them."""
    table = {name: [value(results, name, key) for key, _, _ in columns] for name in results.datasets}
    means = [None if None in column else fmean(column) for column in zip(*table.values(), strict=True)]
    heads = [[Cell(results.title(name)), Cell(results.specialist(name))] for name in table]
    return [
        [*head, *map(_cell, row, columns)]
        for head, row in zip([*heads, [Cell("Mean"), Cell("")]], [*table.values(), means], strict=True)
    ]


def _cell(number: float | None, column: tuple[str, str, bool]) -> Cell:
    if number is None:
        return Cell(NONE)
    return Cell(percent(number) if column[2] else f"{number:.3f}", order=number)


def task_sentences(results: Results) -> list[str]:
    """What only ordinal and multi-label tasks have, and what counting grades as MOSAIC's code does would change."""
    sentences = []
    for name in results.datasets:
        title = results.title(name)
        within, exact = value(results, name, "acc_within_one"), value(results, name, "acc")
        if within is not None and exact is not None:
            kappa, mae = (_number(value(results, name, key)) for key in ("quadratic_kappa", "mae"))
            sentences.append(
                f"{title} has ordered grades: quadratic kappa {kappa}, mean absolute error {mae} grades, "
                f"{with_unit(within)} within one grade."
            )
            mean = mean_over(results, results.main, "acc", results.datasets)
            if name == RELEASED_WITHIN_ONE and name in mean.datasets:
                counted = present(mean.value) + (within - exact) / len(mean.datasets)
                sentences.append(
                    f"The released code of MOSAIC counts an answer within one grade of {title} as right, and reports "
                    f"that as accuracy. Counted so, the mean accuracy would be {with_unit(counted)} instead of "
                    f"{with_unit(mean.value)}, {points(counted - present(mean.value))} more for the same answers."
                )
        if (precision := value(results, name, "map")) is not None:
            rare = name in MEDMNIST  # of labels of one's own nobody said so
            sentences.append(
                f"{title} has {'rare' if rare else 'several'} labels: mean average precision over labels is "
                f"{with_unit(precision)}" + (", where accuracy counts mostly right answers of “no”." if rare else ".")
            )
    return sentences


def _number(number: float | None) -> str:
    return UNDEFINED if number is None else f"{number:.2f}"
