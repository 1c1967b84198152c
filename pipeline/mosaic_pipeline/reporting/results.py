"""What the report is made from: configurations, tuning, trainings, evaluations and analyses, read and checked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from mosaic_pipeline.config import Config, load_config
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.errors import PipelineError
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
from mosaic_pipeline.reporting.cases import Cases, Contributions, StoredContributions, compare_cases, in_memory
from mosaic_pipeline.reporting.files import METRICS, History, Sample
from mosaic_pipeline.reporting.gradients import Gradients
from mosaic_pipeline.reporting.literature import Published, read_published
from mosaic_pipeline.reporting.outside import Corrupted, Transfer
from mosaic_pipeline.reporting.recognised import Recognised, read_recognised
from mosaic_pipeline.reporting.records import Analysis, DataOrigin, DatasetResult, Training, Tuning

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One variant trained with one seed, and its test results by dataset.

    `history` has one value per round for each column, nan where it is undefined; columns of single datasets are kept of
    the main variant alone. `lost` is by dataset the accuracy that its visit had and the end of the round has not, mean
    over rounds. `contributions` [N, 2] are those of the test cases to ACC and AUC; row n is the same case in every
    variant and seed.
    """

    variant: str
    seed: int
    training: Training
    history: History
    results: dict[str, DatasetResult]
    contributions: Contributions
    md5: dict[str, str]
    lost: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """All that the report shows. `samples`, `hardest` and `roc` (fpr, tpr) are of the main variant's first seed.

    `reasons` says in a line why a variant is there; seed by seed, `analyses` holds the variants that were analysed and
    `conflicts` those whose gradients were compared while they trained. `margin` is the fraction by which the main
    variant may be below another and still count as no worse; None asks no such question. By variant and seed,
    `corrupted` holds the tests on each kind of corrupted images, `transfers` those on each external dataset.
    `recognised` is which dataset test cases are proposed to be of; None asks no such question. `shown` are the variants
    that one of several pages is of; tests and sentences are of all, whatever is shown.
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
    conflicts: Mapping[str, tuple[Gradients, ...]] = field(default_factory=dict)
    corrupted: Mapping[str, Mapping[tuple[str, int], Corrupted]] = field(default_factory=dict)
    transfers: Mapping[str, Mapping[tuple[str, int], Transfer]] = field(default_factory=dict)
    recognised: Recognised | None = None
    shown: tuple[str, ...] | None = None

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

    def cases(self, variant: str, reference: str) -> Cases:
        """What the test cases say of a variant beside another one."""
        if (variant, reference) not in self._cases:
            beside = self._of_main if reference == self.main else self._contributions(reference)
            self._cases[variant, reference] = compare_cases(self._contributions(variant), beside, self.datasets)
        return self._cases[variant, reference]

    def covariance(self, variants: Sequence[str], dataset: str, metric: str) -> np.ndarray:
        """Covariance [K, S, K, S] of a metric of the trainings of one or two variants over other cases of a dataset."""
        if len(variants) == 1:
            return self.cases(variants[0], self.main).own[dataset, metric][None, :, None, :]
        first, second = variants
        # The main variant's own are read once, and kept; so it is the reference wherever it is one of the two.
        turned = first == self.main
        between = self.cases(second, first) if turned else self.cases(first, second)
        both = between.common[dataset, metric]
        own = {each: self.covariance((each,), dataset, metric)[0, :, 0] for each in variants}
        blocks = [[own[first], both.T if turned else both], [both if turned else both.T, own[second]]]
        return np.array(blocks).transpose(0, 2, 1, 3)

    @cached_property
    def everywhere(self) -> dict[str, frozenset[str]]:
        """By metric, the datasets for which every variant and seed has it."""
        return {
            metric: frozenset(
                name
                for name in self.datasets
                if all(getattr(run.results[name], metric) is not None for run in self.runs_of_variants())
            )
            for metric in METRICS
        }

    def runs_of_variants(self) -> list[Run]:
        """Return the runs of the variants, seed by seed."""
        return [self.runs[variant, seed] for variant in self.variants for seed in self.seeds]

    @property
    def on_page(self) -> tuple[str, ...]:
        """The variants that the page is of."""
        return self.variants if self.shown is None else self.shown

    @property
    def others_on_page(self) -> tuple[str, ...]:
        """Those of them that the main one is compared with."""
        return tuple(variant for variant in self.on_page if variant != self.main)

    @property
    def beside_main(self) -> tuple[str, ...]:
        """The main one, with which all are compared, and those that the page is of."""
        return (self.main, *self.others_on_page)

    def showing(self, variants: Sequence[str]) -> "Results":
        """Return the same for a page of these variants, with all that is computed once."""
        page = replace(self, shown=tuple(variants))
        kept = ("remembered", "everywhere", "_cases", "_of_main")
        page.__dict__.update({name: getattr(self, name) for name in kept})
        return page

    @cached_property
    def remembered(self) -> dict[tuple[Any, ...], Any]:
        """What functions decorated with `once` returned for these results, of whatever page."""
        return {}

    @cached_property
    def _cases(self) -> dict[tuple[str, str], Cases]:
        return {}

    @cached_property
    def _of_main(self) -> list[Contributions]:
        # All others are compared with it.
        return self._contributions(self.main)

    def _contributions(self, variant: str) -> list[Contributions]:
        """Of each training of a variant, which are read anew."""
        return [in_memory(self.runs[variant, seed].contributions) for seed in self.seeds]


def once(function: Callable[Concatenate[Results, P], T]) -> Callable[Concatenate[Results, P], T]:
    """Let a function of results and of what can be a key compute each of its values once."""

    @wraps(function)
    def remembering(results: Results, /, *arguments: P.args, **named: P.kwargs) -> T:
        key = (function.__module__, function.__qualname__, arguments, *named.items())
        if key not in results.remembered:
            results.remembered[key] = function(results, *arguments, **named)
        return results.remembered[key]

    return remembering


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
    runs: dict[tuple[str, int], Run] = {}
    for variant in variants:
        for seed in seeds:
            run = load_run(root, variant, seed, specialists, configs[variant].datasets)
            runs[variant, seed] = run if variant == variants[0] else reduced(run, runs[variants[0], seeds[0]])
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
    stored: dict[str, tuple[Path, int]] = {}
    for specialist in specialists:
        place = (variant, seed, specialist)
        evaluation = files.read_evaluation(root / evaluation_file(*place, "json"), *place, datasets)
        results |= evaluation.datasets
        md5 |= evaluation.md5
        cases = root / evaluation_file(*place, "npz")
        files.read_contributions(cases, evaluation.datasets)  # to be held against the metrics, and let go
        stored |= {name: (cases, result.n) for name, result in evaluation.datasets.items()}
    if missing := [name for name in datasets if name not in results]:
        file = root / evaluation_file(variant, seed, specialists[0], "json")
        raise PipelineError(
            f"{file.parent}: {missing[0]} is in none of {', '.join(f'{each}.json' for each in specialists)}; "
            f"`{maker(file)}` mends that"
        )
    training = files.read_training(folder / "train.json", variant, seed, datasets)
    history = files.read_history(folder / "history.csv", training.rounds, datasets)
    lost = files.lost_after_visits(history, datasets)
    return Run(variant, seed, training, history, results, StoredContributions(stored), md5, lost)


def reduced(run: Run, main: Run) -> Run:
    """Return a run without what a report shows of the main variant's alone; what both are told the same, they share."""
    results = {name: result.reduced(main.results[name]) for name, result in run.results.items()}
    history = {column: values for column, values in run.history.items() if "/" not in column}
    return replace(run, results=results, history=history)


def _load_transfers(root: Path, dataset: str, runs: Mapping[tuple[str, int], Run]) -> dict[tuple[str, int], Transfer]:
    found: dict[tuple[str, int], Transfer] = {}
    for (variant, seed), run in runs.items():
        like = next((transfer for place, transfer in found.items() if place[0] == variant), None)
        path = root / transfer_file(variant, seed, dataset, "json")
        found[variant, seed] = outside.read_transfer(path, variant, seed, dataset, run.md5, like)
    return found


def _load_conflicts(root: Path, variant: str, seeds: Sequence[int], config: Config) -> tuple[Gradients, ...]:
    found = [
        files.read_conflicts(root / run_folder(variant, seed) / "conflicts.json", variant, seed, config.datasets)
        for seed in seeds
    ]
    return tuple(conflicts for conflicts in found if conflicts)
