"""What the report is made from: configurations, trainings and evaluations, read and checked."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.config import Config, load_config
from pipeline.datasets import DATASETS, SPECIALISTS
from pipeline.errors import PipelineError
from pipeline.layout import config_file, evaluation_file, run_folder

METRICS = ("acc", "auc")
MAX_SAMPLES = 4


class Record(BaseModel):
    """A part of a JSON file of ours; keys that the report does not use are ignored."""

    model_config = ConfigDict(frozen=True)


class Split(Record):
    """Images used of a split, and how many the source file holds."""

    n: int
    of: int


class DataOrigin(Record):
    """Where a dataset's images came from."""

    source: str
    official: bool
    size: int
    class_names: list[str]
    raw_md5: str
    splits: dict[str, Split]


class DatasetResult(Record):
    """Test result of one dataset; a metric that is undefined is None.

    `confusion` counts actual x predicted classes; for a multi-label dataset it is one [[tn, fp], [fn, tp]] per label.
    """

    n: int
    acc: float | None
    auc: float | None
    loss: float | None
    confusion: list[list[int]] | list[list[list[int]]]
    data: DataOrigin

    @property
    def multi_label(self) -> bool:
        """Whether `confusion` holds one table per label."""
        return isinstance(self.confusion[0][0], list)

    @property
    def class_counts(self) -> list[tuple[int, int]]:
        """Per class or label: test images that are of it, and that are not."""
        if self.multi_label:
            return [(fn + tp, tn + fp) for (tn, fp), (fn, tp) in self.confusion]
        return [(sum(row), self.n - sum(row)) for row in self.confusion]


class Evaluation(Record):
    """Content of evaluation/<variant>/<seed>/<specialist>.json."""

    md5: dict[str, str]
    datasets: dict[str, DatasetResult]


class Parameters(Record):
    """Number of parameters by component."""

    specialists: dict[str, int]
    tokenizer_3d: int
    positions_3d: int
    heads: int
    backbone: int
    trainable: int
    total: int


class Training(Record):
    """Content of runs/<variant>/<seed>/train.json; `best_round` counts from 1."""

    deployed: str
    best_round: int
    rounds: int
    stopped: str
    score: float | None
    parameters: Parameters
    steps: int
    precision: str


@dataclass(frozen=True)
class Sample:
    """A test image [H,W] or [H,W,3] uint8 with its probabilities [C] and labels [L]."""

    image: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Run:
    """One variant trained with one seed, and its test results by dataset.

    `history` has a list with one value per round for each column; nan where a value is undefined.
    """

    variant: str
    seed: int
    training: Training
    history: dict[str, list[float]]
    results: dict[str, DatasetResult]
    md5: dict[str, str]


@dataclass(frozen=True)
class Published:
    """A result from the literature; values are fractions, None where the source gives none."""

    dataset: str
    method: str
    input_size: str
    acc: float | None
    auc: float | None
    source: str


@dataclass(frozen=True)
class Results:
    """All that the report shows. `samples` are of the main variant's first seed."""

    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    configs: dict[str, Config]
    runs: dict[tuple[str, int], Run]
    samples: dict[str, list[Sample]]
    published: tuple[Published, ...] = ()

    @property
    def main(self) -> str:
        """The variant that the others are compared with."""
        return self.variants[0]

    @property
    def main_run(self) -> Run:
        """First seed of the main variant; where the report shows single images and counts, they are from here."""
        return self.runs[self.main, self.seeds[0]]

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets by specialist, and within a specialist as in the table of datasets."""
        names = [name for name in DATASETS if name in self.main_run.results]
        return tuple(sorted(names, key=lambda name: SPECIALISTS.index(DATASETS[name].specialist)))

    def origin(self, dataset: str) -> DataOrigin:
        """Where the images of a dataset came from."""
        return self.main_run.results[dataset].data

    def values(self, variant: str, dataset: str, metric: str) -> list[float | None]:
        """A metric of one dataset, seed by seed."""
        return [getattr(self.runs[variant, seed].results[dataset], metric) for seed in self.seeds]


def load_results(
    variants: Sequence[str], seeds: Sequence[int], published: Path | None = None, root: Path = Path()
) -> Results:
    """Read the files of these variants and seeds below `root`; whatever else lies there is left alone.

    `published` is a CSV file with columns dataset, method, input_size, auc, acc, citation and notes.
    Raises PipelineError naming a file that is missing, is not what its stage writes, or lacks a dataset.
    """
    configs = {variant: load_config(root / config_file(variant)) for variant in variants}
    runs = {
        (variant, seed): _load_run(root, variant, seed, configs[variant].datasets)
        for variant in variants
        for seed in seeds
    }
    samples = {}
    for specialist in SPECIALISTS:
        samples |= _load_samples(root / evaluation_file(variants[0], seeds[0], specialist, "npz"))
    rows = load_published(published) if published else ()
    return Results(tuple(variants), tuple(seeds), configs, runs, samples, rows)


def load_published(path: Path) -> tuple[Published, ...]:
    """Read published results. Raises PipelineError if the file is missing or lacks a column."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return tuple(_published(row) for row in csv.DictReader(file))
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file; correct report.published in params.yaml") from None
    except (KeyError, TypeError, ValueError) as error:
        raise PipelineError(f"{path}: not a table of published results: {error}; see report.published") from None


def _published(row: dict[str, str]) -> Published:
    notes = row.get("notes") or ""
    return Published(
        dataset=row["dataset"].lower(),
        method=row["method"],
        input_size=row["input_size"],
        acc=float(row["acc"]) if row["acc"] else None,
        auc=float(row["auc"]) if row["auc"] else None,
        source=row["citation"] + (f" ({notes})" if notes else ""),
    )


def _load_run(root: Path, variant: str, seed: int, datasets: tuple[str, ...]) -> Run:
    folder = root / run_folder(variant, seed)
    results: dict[str, DatasetResult] = {}
    md5: dict[str, str] = {}
    for specialist in SPECIALISTS:
        path = root / evaluation_file(variant, seed, specialist, "json")
        evaluation = _read_json(path, Evaluation)
        wanted = {name for name in datasets if DATASETS[name].specialist == specialist}
        if wanted != set(evaluation.datasets):
            differing = ", ".join(sorted(wanted ^ set(evaluation.datasets)))
            raise PipelineError(f"{path}: not evaluated as configured ({differing}); `dvc repro` brings it up to date")
        results |= evaluation.datasets
        md5 |= evaluation.md5
    training = _read_json(folder / "train.json", Training)
    return Run(variant, seed, training, _read_history(folder / "history.csv"), results, md5)


RecordType = TypeVar("RecordType", bound=Record)


def _read_json(path: Path, kind: type[RecordType]) -> RecordType:
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise _missing(path) from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise PipelineError(f"{path}: {where}: {problem['msg']}; `dvc repro` writes the file anew") from None
    except ValueError as error:
        raise PipelineError(f"{path}: not valid JSON ({error}); delete it and run `dvc repro`") from None


def _read_history(path: Path) -> dict[str, list[float]]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise _missing(path) from None
    if not rows:
        raise PipelineError(f"{path}: holds no round; delete it and run `dvc repro`")
    return {column: [float(row[column]) if row[column] else math.nan for row in rows] for column in rows[0]}


def _load_samples(path: Path) -> dict[str, list[Sample]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = [key.removesuffix("/sample_index") for key in arrays.files if key.endswith("/sample_index")]
            return {name: _samples(arrays, name) for name in sorted(names)}
    except FileNotFoundError:
        raise _missing(path) from None
    except (KeyError, ValueError, OSError, BadZipFile) as error:
        raise PipelineError(f"{path}: not a file of scores ({error}); delete it and run `dvc repro`") from None


def _samples(arrays: np.lib.npyio.NpzFile, name: str) -> list[Sample]:
    images, scores, labels = (arrays[f"{name}/{key}"] for key in ("sample_images", "scores", "labels"))
    rows = arrays[f"{name}/sample_index"][:MAX_SAMPLES]
    return [Sample(image, scores[row], labels[row]) for image, row in zip(images, rows, strict=False)]


def _missing(path: Path) -> PipelineError:
    return PipelineError(f"{path}: no such file; `dvc repro` makes it")
