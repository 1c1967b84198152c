"""What the report is made from: configurations, trainings, evaluations and analyses, read and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.layout import segmentation_analysis, segmentation_config, segmentation_evaluation, segmentation_run
from pipeline.reporting.record import read_analyses
from pipeline.segmentation.config import Config, load_config
from pipeline.segmentation.evaluation.metrics import METRICS
from pipeline.segmentation.evaluation.statistics import Comparison, Scores, collect, compare
from pipeline.segmentation.reporting import files
from pipeline.segmentation.reporting.files import History, Overlay
from pipeline.segmentation.reporting.records import Analysis, DatasetResult, Evaluation, Training

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
    """

    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    configs: dict[str, Config]
    runs: dict[tuple[str, int], Run]
    overlays: Mapping[str, tuple[Overlay, ...]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    analyses: Mapping[str, tuple[Analysis, ...]] = field(default_factory=dict)

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

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the sets, in order of heads."""
        return tuple(self.configs[self.main].datasets)

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
    def comparisons(self) -> dict[str, dict[str, Comparison]]:
        """By tested metric and other variant, how it compares with the main one over all sets."""
        return {metric: compare(self.scores[metric], self.main, self.datasets) for metric in TESTED}


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
    configs = {variant: load_config(root / segmentation_config(variant)) for variant in variants}
    first = configs[variants[0]].datasets
    runs: dict[tuple[str, int], Run] = {}
    like: Evaluation | None = None
    for variant in variants:
        path = root / segmentation_config(variant)
        if [each.form() for each in configs[variant].datasets.values()] != [each.form() for each in first.values()]:
            raise PipelineError(f"{path}: not of the sets that {variants[0]} has; `dvc repro seg_configure` mends that")
        for seed in seeds:
            folder = root / segmentation_run(variant, seed)
            training = files.read_training(folder / "train.json", variant, seed)
            history = files.read_history(folder / "history.csv", training.rounds)
            found = files.read_evaluation(root / segmentation_evaluation(variant, seed), training, first, like)
            like = like or found
            runs[variant, seed] = Run(training, history, found)
    pictures = (root / segmentation_evaluation(variants[0], seeds[0])).with_suffix(".npz")
    return Results(
        variants=tuple(variants),
        seeds=tuple(seeds),
        configs=configs,
        runs=runs,
        overlays=files.read_overlays(pictures, runs[variants[0], seeds[0]].evaluation),
        reasons=dict(reasons),
        analyses={
            name: read_analyses(
                {seed: root / segmentation_analysis(name, seed) for seed in seeds}, Analysis, name, first
            )
            for name in analysed
            if name in variants
        },
    )
