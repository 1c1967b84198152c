"""The files that the report reads, each held against the configuration, so that none of another training passes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from mosaic_pipeline.arrays import ReadMember, open_arrays
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.reading import number, read_record, read_table, reading
from mosaic_pipeline.reporting.cases import METRICS, read_stored
from mosaic_pipeline.reporting.gradients import Gradients, summarise
from mosaic_pipeline.reporting.record import check_datasets, check_names
from mosaic_pipeline.reporting.record import read_analyses as read_alike
from mosaic_pipeline.reporting.records import (
    Analysis,
    ConflictFile,
    DatasetResult,
    Evaluation,
    Training,
    Tuning,
)

# Values of each column by round: float64 [rounds], nan where a cell is empty.
History = dict[str, np.ndarray]
MODELS = ("student", "teacher")
# Metrics that only one kind of task has.
ORDINAL, MULTI_LABEL = ("quadratic_kappa", "mae", "acc_within_one"), ("map",)
MAX_SAMPLES = 4
# How far the mean of contributions, stored in single precision, may be from the metric that it is.
ROUNDING = 1e-4


@dataclass(frozen=True)
class Sample:
    """A test image [H,W] or [H,W,3] uint8 with its probabilities [C] and labels [L]."""

    image: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


def read_training(path: Path, variant: str, seed: int, datasets: Collection[str]) -> Training:
    """Read train.json of a variant and seed."""
    training = read_record(path, Training)
    with reading(path):
        check_names(training, variant=variant, seed=seed)
        if training.best_rounds:
            check_datasets(training.best_rounds, datasets)
    return training


def read_history(path: Path, rounds: int, datasets: Collection[str]) -> History:
    """Read history.csv: one value for each of `rounds` by column, nan where a cell is empty."""
    shares = [f"{model}_{metric}" for model in MODELS for metric in ("score", *METRICS)]
    shares += [f"{name}/{model}_{metric}" for name in datasets for model in MODELS for metric in METRICS]
    rows = list(read_table(path, ["round", "train_loss", *shares]).values())
    with reading(path):
        columns = {column: _column(rows, column) for column in rows[0]} if rows else {}
        if not np.array_equal(columns.get("round", []), range(1, rounds + 1)):
            raise ValueError(f"not the rounds 1 to {rounds} that train.json speaks of")
        for column in (*shares, *(f"{name}/visit_{metric}" for name in datasets for metric in METRICS)):
            if column in columns and ((columns[column] < 0) | (columns[column] > 1)).any():
                raise ValueError(f"{column}: not all from 0 to 1")
    return columns


def lost_after_visits(history: History, datasets: Collection[str]) -> dict[str, float]:
    """Accuracy after the visit minus accuracy at the end of the same round, mean over rounds, by dataset.

    Of those whose history has both in some round.
    """
    lost = {}
    for name in datasets:
        visits, ends = history.get(f"{name}/visit_acc"), history.get(f"{name}/student_acc")
        if visits is not None and ends is not None:
            losses = (visits - ends)[np.isfinite(visits) & np.isfinite(ends)]
            if len(losses):
                lost[name] = fmean(losses.tolist())
    return lost


def read_evaluation(
    path: Path, variant: str, seed: int, specialist: str, datasets: Mapping[str, Dataset]
) -> Evaluation:
    """Read the JSON of an evaluation, of all those of `datasets` that the specialist's stage tests."""
    evaluation = read_record(path, Evaluation)
    with reading(path):
        check_names(evaluation, variant=variant, seed=seed, specialist=specialist)
        for name, result in evaluation.datasets.items():
            if name not in datasets:
                raise ValueError(f"not of the datasets that are configured ({name})")
            if result.data.specialist != specialist:
                raise ValueError(f"{name}: of specialist {result.data.specialist}")
            _check_result(datasets[name], result)
    return evaluation


def read_contributions(path: Path, results: Mapping[str, DatasetResult]) -> dict[str, np.ndarray]:
    """Read what the test cases of each dataset contribute to its metrics, [N, 2], from the npz of an evaluation."""
    found = read_stored(path, {name: result.n for name, result in results.items()})
    with reading(path):
        for name, result in results.items():
            for metric, column in zip(METRICS, found[name].T, strict=True):
                check_mean(name, metric, getattr(result, metric), column)
    return found


def read_cases(
    path: Path, kind: str, datasets: Mapping[str, Dataset], results: Mapping[str, DatasetResult]
) -> dict[str, list[Sample]]:
    """Read the cases of one kind (`sample`, `hardest`) by dataset, in the order stored, from the npz of an evaluation.

    `results` are the datasets that the file is of.
    """
    with open_arrays(path) as read:
        return {name: _cases(read, datasets[name], kind, result) for name, result in results.items()}


def read_roc(path: Path, datasets: Sequence[str]) -> dict[str, tuple[list[float], list[float]]]:
    """Read the ROC curves (fpr, tpr) of these datasets, tpr nan where a curve is undefined."""
    curves: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in datasets}
    rows = read_table(path, ["dataset", "fpr", "tpr"])
    with reading(path):
        for row in rows.values():
            values = _cell(row, "fpr"), _cell(row, "tpr")
            if row["dataset"] not in curves or not 0 <= values[0] <= 1 or values[1] < 0 or values[1] > 1:
                raise ValueError(f"no point of a curve: {', '.join(row.values())}")
            for axis, value in zip(curves[row["dataset"]], values, strict=True):
                axis.append(value)
        for name, (fpr, _) in curves.items():
            if len(fpr) < 2 or fpr != sorted(fpr) or (fpr[0], fpr[-1]) != (0, 1):
                raise ValueError(f"no whole curve of {name}")
    return curves


def read_tuning(path: Path, variant: str) -> Tuning:
    """Read what was tried for a variant."""
    tuning = read_record(path, Tuning)
    with reading(path):
        check_names(tuning, variant=variant)
    return tuning


def read_conflicts(path: Path, variant: str, seed: int, datasets: Collection[str]) -> Gradients | None:
    """Read how the gradients lay in a training; None where they were not compared."""
    file = read_record(path, ConflictFile)
    with reading(path):
        check_names(file, variant=variant, seed=seed)
        if file.conflicts:
            check_datasets(file.conflicts.datasets, datasets)
    return summarise(file.conflicts) if file.conflicts else None


def read_analyses(paths: Mapping[int, Path], variant: str, datasets: Collection[str]) -> tuple[Analysis, ...]:
    """Read the analyses of a variant by seed; they are shown by their mean, so all have to hold the same."""
    return read_alike(paths, Analysis, variant, datasets, _check_alike)


def _check_alike(analysis: Analysis, first: Analysis) -> None:
    if _form(analysis.model_dump()) != _form(first.model_dump()):
        raise ValueError(f"not of the same cases, layers or specialists as that of seed {first.seed}")


def _form(tree: Any) -> Any:
    """Keys and lengths of nested mappings and lists; numbers and names are all alike."""
    if isinstance(tree, Mapping):
        return {key: _form(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_form(value) for value in tree]
    return None


def _check_result(dataset: Dataset, result: DatasetResult) -> None:
    others = () if dataset.task == "ordinal-regression" else ORDINAL
    wanted = DatasetResult.model_fields.keys() - {*others, *(() if dataset.multi_label else MULTI_LABEL)}
    if missing := sorted(wanted - result.model_fields_set):
        raise ValueError(f"datasets.{dataset.name}.{missing[0]}: missing")
    if result.data.form != dataset.form():
        raise ValueError(f"{dataset.name}: not of the form that is configured")
    classes = dataset.num_classes
    shape = (classes, 2, 2) if dataset.multi_label else (classes, classes)
    if len(result.data.class_names) != classes or np.shape(result.confusion) != shape:
        raise ValueError(f"{dataset.name}: not of {classes} classes")
    if result.data.splits["test"].n != result.n:
        raise ValueError(f"{dataset.name}: n is {result.n}, but {result.data.splits['test'].n} in its data")


def check_mean(name: str, metric: str, value: float | None, column: np.ndarray) -> None:
    """Hold contributions against their metric: they are nan where it, or how its cases vary, is undefined."""
    unknown = np.isnan(column)
    if unknown.all() and (metric == "auc" or value is None):
        return
    if not np.isfinite(column).all() or value is None or abs(column.mean(dtype=np.float64) - value) > ROUNDING:
        raise ValueError(f"{name}/contributions: their mean is not the {metric.upper()} in the JSON file beside it")


def _cases(read: ReadMember, dataset: Dataset, kind: str, result: DatasetResult) -> list[Sample]:
    name, side = dataset.name, result.data.size
    picture = (side, side if dataset.dimension == 2 else 3 * side, *((3,) if dataset.channels == 3 else ()))
    rows = read(f"{name}/{kind}_index", np.int64, (None,))
    images = read(f"{name}/{kind}_images", np.uint8, (len(rows), *picture))
    scores = read(f"{name}/scores", np.float32, (result.n, dataset.num_classes))
    labels = read(f"{name}/labels", np.int64, (result.n, dataset.label_columns))
    if rows.min() < 0 or rows.max() >= result.n:
        raise ValueError(f"{name}/{kind}_index: cases {rows.min()} to {rows.max()} of {result.n}")
    if not (scores >= 0).all() or not (scores <= 1).all():
        raise ValueError(f"{name}/scores: not all from 0 to 1")
    if labels.min() < 0 or labels.max() > dataset.highest_label:
        raise ValueError(f"{name}/labels: {labels.min()} to {labels.max()}, not 0 to {dataset.highest_label}")
    return [Sample(image, scores[row], labels[row]) for image, row in zip(images, rows, strict=True)][:MAX_SAMPLES]


def _column(rows: Sequence[Mapping[str, str]], column: str) -> np.ndarray:
    """Return a column as numbers; in one pass where all are finite, which takes a tenth of the time."""
    try:
        values = np.array([float(row[column]) for row in rows])
    except ValueError:
        values = np.full(1, np.nan)
    return values if np.isfinite(values).all() else np.array([_cell(row, column) for row in rows])


def _cell(row: Mapping[str, str], column: str) -> float:
    try:
        return number(row[column])
    except ValueError as error:
        raise ValueError(f"{column}: {error}") from None
