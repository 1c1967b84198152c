"""What the report is made from: trainings, evaluations and analyses, read and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mosaic_pipeline.layout import segmentation_analysis, segmentation_evaluation, segmentation_run
from mosaic_pipeline.reporting.record import read_analyses
from mosaic_pipeline.segmentation.config import Config
from mosaic_pipeline.segmentation.evaluation.metrics import METRICS
from mosaic_pipeline.segmentation.evaluation.statistics import Comparison, Scores, collect, compare
from mosaic_pipeline.segmentation.reporting import files
from mosaic_pipeline.segmentation.reporting.files import History, Overlay
from mosaic_pipeline.segmentation.reporting.records import Analysis, DatasetResult, Evaluation, Training

# HD95 is in mm, and not a share: it is shown, and nothing is called by it.
TESTED = ("dsc", "nsd")
TITLES = {"dsc": "DSC", "nsd": "NSD", "hd95": "HD95"}


@dataclass(frozen=True)
class Run:
    """One variant trained with one seed, and its test results."""

    training: Training
    history: History
    evaluation: Evaluation


@dataclass(frozen=True)
class Results:
    """All that the report shows. `overlays` are of the main variant's first seed.

    `reasons` says in a line why a variant is there; seed by seed, `analyses` holds the variants that were analysed.
    `shown` are the variants that one of several pages is of; tests and sentences are of all, whatever is shown.
    """

    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: dict[tuple[str, int], Run]
    overlays: Mapping[str, tuple[Overlay, ...]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    analyses: Mapping[str, tuple[Analysis, ...]] = field(default_factory=dict)
    shown: tuple[str, ...] | None = None

    @property
    def on_page(self) -> tuple[str, ...]:
        """The variants that the page is of."""
        return self.variants if self.shown is None else self.shown

    @property
    def beside_main(self) -> tuple[str, ...]:
        """The main one, with which all are compared, and the others that the page is of."""
        return (self.main, *(variant for variant in self.on_page if variant != self.main))

    def showing(self, variants: Sequence[str]) -> "Results":
        """Return the same for a page of these variants, with all that is computed once."""
        page = replace(self, shown=tuple(variants))
        kept = ("configs", "scores", "comparisons", "computed")
        page.__dict__.update({name: getattr(self, name) for name in kept})
        return page

    @property
    def main(self) -> str:
        """The variant that the others are compared with."""
        return self.variants[0]

    @property
    def others(self) -> tuple[str, ...]:
        """The variants that the main one is compared with."""
        return self.variants[1:]

    @property
    def main_run(self) -> Run:
        """First seed of the main variant; single cases are shown from here."""
        return self.runs[self.main, self.seeds[0]]

    @cached_property
    def configs(self) -> dict[str, Config]:
        """By variant, what its first seed was trained by: another's differs in experts dealt out at random alone."""
        return {variant: self.runs[variant, self.seeds[0]].training.config for variant in self.variants}

    def dealt_anew(self, variant: str) -> bool:
        """Whether seeds of a variant have other experts, or other sets at them: no mean over these says anything."""
        of = [self.runs[variant, seed].training.config.experts.of for seed in self.seeds]
        return any(each != of[0] for each in of)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the sets, in order of heads."""
        return tuple(self.configs[self.main].datasets)

    @property
    def by_patient(self) -> tuple[str, ...]:
        """Those of the sets whose test scans were not trained on; differences are over these alone."""
        return tuple(name for name in self.datasets if not self.result(name).by_slices)

    @property
    def counted(self) -> tuple[str, ...]:
        """The sets that a mean over sets is of: those by patient, or all where there is none."""
        return self.by_patient or self.datasets

    def result(self, dataset: str, variant: str | None = None, seed: int | None = None) -> DatasetResult:
        """What a training has on a set; of the main variant's first one if nothing else is said."""
        place = (variant or self.main, self.seeds[0] if seed is None else seed)
        return self.runs[place].evaluation.datasets[dataset]

    def title(self, dataset: str) -> str:
        """What people call a set."""
        return self.result(dataset).title

    def reason(self, variant: str) -> str:
        """Why a variant is there; empty if nobody said."""
        return self.reasons.get(variant, "")

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """By metric, what all trainings have on every case and organ."""
        evaluations = {
            place: {
                name: [case.model_dump() for case in result.cases] for name, result in run.evaluation.datasets.items()
            }
            for place, run in self.runs.items()
        }
        return {metric: collect(evaluations, metric) for metric in METRICS}

    @cached_property
    def computed(self) -> dict[Any, Any]:
        """What is computed once for these results, of whatever page, by its key."""
        return {}

    @cached_property
    def comparisons(self) -> dict[str, dict[str, Comparison]]:
        """By tested metric and other variant, how it compares with the main one over all sets by patient, if any."""
        if not self.by_patient:
            return {metric: {} for metric in TESTED}
        return {metric: compare(self.scores[metric], self.main, self.by_patient) for metric in TESTED}


def load_results(
    variants: Sequence[str],
    seeds: Sequence[int],
    root: Path = Path(),
    reasons: Mapping[str, str] = {},
    analysed: Sequence[str] = (),
) -> Results:
    """Read the files of these variants and seeds below `root`; whatever else lies there is left alone.

    Raises PipelineError naming a file that is missing, is not what its stage writes, or does not go with the others.
    """
    runs: dict[tuple[str, int], Run] = {}
    for variant in variants:
        for seed in seeds:
            like = runs.get((variant, seeds[0])) or runs.get((variants[0], seeds[0]))
            runs[variant, seed] = _read_run(root, variant, seed, like)
    first = runs[variants[0], seeds[0]]
    datasets = list(first.training.config.datasets)
    pictures = (root / segmentation_evaluation(variants[0], seeds[0])).with_suffix(".npz")
    return Results(
        variants=tuple(variants),
        seeds=tuple(seeds),
        runs=runs,
        overlays=files.read_overlays(pictures, first.evaluation),
        reasons=dict(reasons),
        analyses={
            name: read_analyses(
                {seed: root / segmentation_analysis(name, seed) for seed in seeds}, Analysis, name, datasets
            )
            for name in analysed
            if name in variants
        },
    )


def _read_run(root: Path, variant: str, seed: int, like: Run | None) -> Run:
    """Read what one training left; it has to go with `like`, of the same variant if there is one yet."""
    folder = root / segmentation_run(variant, seed)
    training = files.read_training(folder / "train.json", variant, seed, like.training if like else None)
    history = files.read_history(folder / "history.csv", training.rounds)
    evaluation = root / segmentation_evaluation(variant, seed)
    return Run(training, history, files.read_evaluation(evaluation, training, like.evaluation if like else None))
