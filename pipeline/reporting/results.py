"""What the report is made from: configurations, tuning, trainings, evaluations and analyses, read and checked."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

import numpy as np
from pydantic import ValidationError

from pipeline.config import Config, load_config
from pipeline.datasets import DATASETS, SPECIALISTS
from pipeline.errors import PipelineError
from pipeline.evaluation.inference import covariance_of_means
from pipeline.layout import analysis_file, config_file, evaluation_file, run_folder, tuning_file
from pipeline.reporting.records import (
    Analysis,
    ConflictFile,
    Conflicts,
    DataOrigin,
    DatasetResult,
    Evaluation,
    Record,
    Training,
    Tuning,
)

METRICS = ("acc", "auc")
MAX_SAMPLES = 4


@dataclass(frozen=True)
class Sample:
    """A test image [H,W] or [H,W,3] uint8 with its probabilities [C] and labels [L]."""

    image: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Run:
    """One variant trained with one seed, and its test results by dataset.

    `history` has a list with one value per round for each column; nan where a value is undefined. `contributions`
    [N, 2] are those of the test cases to ACC and AUC; row n is the same case in every variant and seed.
    """

    variant: str
    seed: int
    training: Training
    history: dict[str, list[float]]
    results: dict[str, DatasetResult]
    contributions: dict[str, np.ndarray]
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
    """All that the report shows. `samples`, `hardest` and `roc` (fpr, tpr) are of the main variant's first seed.

    `reasons` says in a line why a variant is there; seed by seed, `analyses` holds the variants that were analysed and
    `conflicts` those whose gradients were compared while they trained. `margin` is the fraction by which the main
    variant may be below another and still count as no worse; None asks no such question.
    """

    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    configs: dict[str, Config]
    runs: dict[tuple[str, int], Run]
    samples: dict[str, list[Sample]]
    hardest: dict[str, list[Sample]]
    roc: dict[str, tuple[list[float], list[float]]]
    published: tuple[Published, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    analyses: Mapping[str, tuple[Analysis, ...]] = field(default_factory=dict)
    margin: float | None = None
    tuning: Mapping[str, Tuning] = field(default_factory=dict)
    conflicts: Mapping[str, tuple[Conflicts, ...]] = field(default_factory=dict)

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

    @property
    def others(self) -> tuple[str, ...]:
        """The variants that the main one is compared with."""
        return self.variants[1:]

    def reason(self, variant: str) -> str:
        """Why a variant is there; empty if nobody said."""
        return self.reasons.get(variant, "")

    def routed(self, variant: str, seed: int) -> dict[str, str | None]:
        """Specialist of each dataset in one training; seeds differ where the groups are drawn at random."""
        return self.configs[variant].routing.for_seed(seed).datasets

    def sizes(self, variant: str) -> dict[str, int]:
        """Width (or rank, or number of prompts) of each specialist of a variant."""
        return self.configs[variant].routing.sizes

    def values(self, variant: str, dataset: str, metric: str) -> list[float | None]:
        """A metric of one dataset, seed by seed."""
        return [getattr(self.runs[variant, seed].results[dataset], metric) for seed in self.seeds]

    def contributions(self, variant: str, dataset: str, metric: str) -> np.ndarray:
        """What the test cases of a dataset contribute to a metric, training by training: float64 [S, N]."""
        column = METRICS.index(metric)
        rows = [self.runs[variant, seed].contributions[dataset][:, column] for seed in self.seeds]
        return np.array(rows, dtype=np.float64)

    def covariance(self, dataset: str, metric: str) -> np.ndarray:
        """Covariance [V, S, V, S] of a metric of all trainings over other test cases of a dataset."""
        return self._covariances[dataset, metric]

    @cached_property
    def _covariances(self) -> dict[tuple[str, str], np.ndarray]:
        shape = (len(self.variants), len(self.seeds))
        return {
            (dataset, metric): covariance_of_means(
                np.concatenate([self.contributions(variant, dataset, metric) for variant in self.variants])
            ).reshape(shape * 2)
            for dataset in self.datasets
            for metric in METRICS
        }


def load_results(
    variants: Sequence[str],
    seeds: Sequence[int],
    published: Path | None = None,
    root: Path = Path(),
    reasons: Mapping[str, str] = {},
    analysed: Sequence[str] = (),
    margin: float | None = None,
) -> Results:
    """Read the files of these variants and seeds below `root`; whatever else lies there is left alone.

    `published` is a CSV file with columns dataset, method, input_size, auc, acc, citation and notes. `reasons` says in
    a line why a variant is there; `analysed` are the variants that have an analysis; `margin` is that of Results.
    Raises PipelineError naming a file that is missing, is not what its stage writes, or lacks a dataset.
    """
    configs = {variant: load_config(root / config_file(variant)) for variant in variants}
    runs = {
        (variant, seed): _load_run(root, variant, seed, configs[variant].datasets)
        for variant in variants
        for seed in seeds
    }
    samples, hardest, roc = {}, {}, {}
    for specialist in SPECIALISTS:
        place = (variants[0], seeds[0], specialist)
        scores = root / evaluation_file(*place, "npz")
        samples |= _load_cases(scores, "sample")
        hardest |= _load_cases(scores, "hardest")
        roc |= _read_roc(root / evaluation_file(*place, "roc.csv"))
    return Results(
        variants=tuple(variants),
        seeds=tuple(seeds),
        configs=configs,
        runs=runs,
        samples=samples,
        hardest=hardest,
        roc=roc,
        published=load_published(published) if published else (),
        reasons=dict(reasons),
        analyses={
            name: tuple(_read_json(root / analysis_file(name, seed), Analysis) for seed in seeds)
            for name in analysed
            if name in variants
        },
        margin=margin,
        tuning={name: _read_json(root / tuning_file(name), Tuning) for name in variants},
        conflicts={name: found for name in variants if (found := _load_conflicts(root, name, seeds))},
    )


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
    contributions: dict[str, np.ndarray] = {}
    for specialist in SPECIALISTS:
        path = root / evaluation_file(variant, seed, specialist, "json")
        evaluation = _read_json(path, Evaluation)
        wanted = {name for name in datasets if DATASETS[name].specialist == specialist}
        if wanted != set(evaluation.datasets):
            differing = ", ".join(sorted(wanted ^ set(evaluation.datasets)))
            raise PipelineError(f"{path}: not evaluated as configured ({differing}); `dvc repro` brings it up to date")
        results |= evaluation.datasets
        md5 |= evaluation.md5
        cases = {name: evaluation.datasets[name].n for name in wanted}
        contributions |= _load_contributions(root / evaluation_file(variant, seed, specialist, "npz"), cases)
    training = _read_json(folder / "train.json", Training)
    return Run(variant, seed, training, _read_history(folder / "history.csv"), results, contributions, md5)


def _load_conflicts(root: Path, variant: str, seeds: Sequence[int]) -> tuple[Conflicts, ...]:
    files = [_read_json(root / run_folder(variant, seed) / "conflicts.json", ConflictFile) for seed in seeds]
    return tuple(file.conflicts for file in files if file.conflicts)


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


def _read_roc(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    curves: dict[str, tuple[list[float], list[float]]] = {}
    try:
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                fpr, tpr = curves.setdefault(row["dataset"], ([], []))
                fpr.append(float(row["fpr"]))
                tpr.append(float(row["tpr"]) if row["tpr"] else math.nan)
    except FileNotFoundError:
        raise _missing(path) from None
    except (KeyError, TypeError, ValueError) as error:
        raise PipelineError(f"{path}: not a table of ROC curves ({error}); delete it and run `dvc repro`") from None
    return curves


@contextmanager
def _arrays(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except FileNotFoundError:
        raise _missing(path) from None
    except (KeyError, ValueError, OSError, BadZipFile) as error:
        raise PipelineError(f"{path}: not a file of scores ({error}); delete it and run `dvc repro`") from None


def _load_contributions(path: Path, cases: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Contributions [N, 2] of the test cases of each dataset, of which there are as many as `cases` says."""
    with _arrays(path) as arrays:
        contributions = {name: arrays[f"{name}/contributions"] for name in sorted(cases)}
        for name, rows in contributions.items():
            if rows.shape != (cases[name], len(METRICS)):
                raise ValueError(f"{name}/contributions has shape {rows.shape}, not {(cases[name], len(METRICS))}")
        return contributions


def _load_cases(path: Path, kind: str) -> dict[str, list[Sample]]:
    """Cases of one kind (`sample`, `hardest`) by dataset, in the order stored."""
    with _arrays(path) as arrays:
        names = [key.removesuffix(f"/{kind}_index") for key in arrays.files if key.endswith(f"/{kind}_index")]
        return {name: _cases(arrays, name, kind) for name in sorted(names)}


def _cases(arrays: np.lib.npyio.NpzFile, name: str, kind: str) -> list[Sample]:
    images, scores, labels = (arrays[f"{name}/{key}"] for key in (f"{kind}_images", "scores", "labels"))
    rows = arrays[f"{name}/{kind}_index"][:MAX_SAMPLES]
    return [Sample(image, scores[row], labels[row]) for image, row in zip(images, rows, strict=False)]


def _missing(path: Path) -> PipelineError:
    return PipelineError(f"{path}: no such file; `dvc repro` makes it")
