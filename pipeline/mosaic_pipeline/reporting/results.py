"""What the report is made from: configurations, tuning, trainings, evaluations and analyses, read and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from mosaic_pipeline.config import Config, load_config
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.evaluation.inference import covariance_of_means
from mosaic_pipeline.layout import (
    analysis_file,
    config_file,
    corrupted_file,
    evaluation_file,
    maker,
    run_folder,
    transfer_file,
    tuning_file,
)
from mosaic_pipeline.reporting import files, outside
from mosaic_pipeline.reporting.files import METRICS, Sample
from mosaic_pipeline.reporting.literature import Published, read_published
from mosaic_pipeline.reporting.outside import Corrupted, Transfer
from mosaic_pipeline.reporting.recognised import Recognised, read_recognised
from mosaic_pipeline.reporting.records import Analysis, Conflicts, DataOrigin, DatasetResult, Training, Tuning


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
class Results:
    """All that the report shows. `samples`, `hardest` and `roc` (fpr, tpr) are of the main variant's first seed.

    `reasons` says in a line why a variant is there; seed by seed, `analyses` holds the variants that were analysed and
    `conflicts` those whose gradients were compared while they trained. `margin` is the fraction by which the main
    variant may be below another and still count as no worse; None asks no such question. By variant and seed,
    `corrupted` holds the tests on each kind of corrupted images, `transfers` those on each external dataset.
    `recognised` is which dataset test cases are proposed to be of; None asks no such question.
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
    corrupted: Mapping[str, Mapping[tuple[str, int], Corrupted]] = field(default_factory=dict)
    transfers: Mapping[str, Mapping[tuple[str, int], Transfer]] = field(default_factory=dict)
    recognised: Recognised | None = None

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
        """Names of the datasets by specialist, and within a specialist in training order."""
        return tuple(sorted(self.configs[self.main].datasets, key=self.specialist))

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Datasets of each specialist that any is declared to be routed to."""
        found: dict[str, tuple[str, ...]] = {}
        for name in self.datasets:
            found[self.specialist(name)] = (*found.get(self.specialist(name), ()), name)
        return found

    def dataset(self, name: str) -> Dataset:
        """Return the form of a dataset."""
        return self.configs[self.main].datasets[name]

    def title(self, name: str) -> str:
        """Return what people call a dataset."""
        return self.origin(name).title

    def specialist(self, name: str) -> str:
        """Return the specialist that a dataset is routed to by its declaration, whatever a variant makes of it."""
        return self.origin(name).specialist

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
    specialists: Sequence[str],
    published: Path | None = None,
    root: Path = Path(),
    reasons: Mapping[str, str] = {},
    analysed: Sequence[str] = (),
    margin: float | None = None,
    corruptions: Sequence[str] = (),
    external: Sequence[str] = (),
    recognised: bool = False,
) -> Results:
    """Read the files of these variants, seeds and specialists below `root`; whatever else lies there is left alone.

    `published` is a table of published results (`read_published`). `reasons` says in a line why a variant is there;
    `analysed` are the variants that have an analysis; `margin` is that of Results. `corruptions` are the kinds of
    corrupted images, `external` the datasets beside those of training, on which all variants were tested,
    `recognised` whether it was tested which dataset cases are of.
    Raises PipelineError naming a file that is missing, is not what its stage writes, or lacks a dataset.
    """
    configs = {variant: load_config(root / config_file(variant)) for variant in variants}
    runs = {
        (variant, seed): load_run(root, variant, seed, specialists, configs[variant].datasets)
        for variant in variants
        for seed in seeds
    }
    main, datasets = runs[variants[0], seeds[0]], configs[variants[0]].datasets
    samples: dict[str, list[Sample]] = {}
    hardest: dict[str, list[Sample]] = {}
    roc: dict[str, tuple[list[float], list[float]]] = {}
    for specialist in specialists:
        place = (variants[0], seeds[0], specialist)
        shown = {name: result for name, result in main.results.items() if result.data.specialist == specialist}
        scores = root / evaluation_file(*place, "npz")
        samples |= files.read_cases(scores, "sample", datasets, shown)
        hardest |= files.read_cases(scores, "hardest", datasets, shown)
        roc |= files.read_roc(root / evaluation_file(*place, "roc.csv"), list(shown))
    return Results(
        variants=tuple(variants),
        seeds=tuple(seeds),
        configs=configs,
        runs=runs,
        samples=samples,
        hardest=hardest,
        roc=roc,
        published=read_published(published) if published else (),
        reasons=dict(reasons),
        analyses={
            name: files.read_analyses(
                {seed: root / analysis_file(name, seed) for seed in seeds}, name, configs[name].datasets
            )
            for name in analysed
            if name in variants
        },
        margin=margin,
        tuning={name: files.read_tuning(root / tuning_file(name), name) for name in variants},
        conflicts={name: found for name in variants if (found := _load_conflicts(root, name, seeds, configs[name]))},
        corrupted={
            kind: {
                place: outside.read_corrupted(
                    root / corrupted_file(*place, kind, "json"), *place, kind, run.results, run.md5
                )
                for place, run in runs.items()
            }
            for kind in corruptions
        },
        transfers={name: _load_transfers(root, name, runs) for name in external},
        recognised=read_recognised(root, datasets, main.results, external, main.md5.get("weights"))
        if recognised
        else None,
    )


def load_run(root: Path, variant: str, seed: int, specialists: Sequence[str], datasets: Mapping[str, Dataset]) -> Run:
    """Read what one training left below `root`, and its tests. Raises PipelineError as `load_results` does."""
    folder = root / run_folder(variant, seed)
    results: dict[str, DatasetResult] = {}
    md5: dict[str, str] = {}
    contributions: dict[str, np.ndarray] = {}
    for specialist in specialists:
        place = (variant, seed, specialist)
        evaluation = files.read_evaluation(root / evaluation_file(*place, "json"), *place, datasets)
        results |= evaluation.datasets
        md5 |= evaluation.md5
        contributions |= files.read_contributions(root / evaluation_file(*place, "npz"), evaluation.datasets)
    if missing := [name for name in datasets if name not in results]:
        file = root / evaluation_file(variant, seed, specialists[0], "json")
        raise PipelineError(
            f"{file.parent}: {missing[0]} is in none of {', '.join(f'{each}.json' for each in specialists)}; "
            f"`{maker(file)}` mends that"
        )
    training = files.read_training(folder / "train.json", variant, seed, datasets)
    history = files.read_history(folder / "history.csv", training.rounds, datasets)
    return Run(variant, seed, training, history, results, contributions, md5)


def _load_transfers(root: Path, dataset: str, runs: Mapping[tuple[str, int], Run]) -> dict[tuple[str, int], Transfer]:
    found: dict[tuple[str, int], Transfer] = {}
    for (variant, seed), run in runs.items():
        like = next((transfer for place, transfer in found.items() if place[0] == variant), None)
        path = root / transfer_file(variant, seed, dataset, "json")
        found[variant, seed] = outside.read_transfer(path, variant, seed, dataset, run.md5, like)
    return found


def _load_conflicts(root: Path, variant: str, seeds: Sequence[int], config: Config) -> tuple[Conflicts, ...]:
    found = [
        files.read_conflicts(root / run_folder(variant, seed) / "conflicts.json", variant, seed, config.datasets)
        for seed in seeds
    ]
    return tuple(conflicts for conflicts in found if conflicts)
