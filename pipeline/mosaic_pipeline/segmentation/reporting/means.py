"""Means of the report: cases within an organ, organs within a set, sets; over seeds, with their intervals."""

import math
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

from mosaic_pipeline.segmentation.evaluation.cases import mean, summary
from mosaic_pipeline.segmentation.evaluation.metrics import METRICS, Record
from mosaic_pipeline.segmentation.evaluation.statistics import dataset_mean, mean_estimate
from mosaic_pipeline.segmentation.reporting.results import Results


@dataclass(frozen=True)
class Mean:
    """Mean over seeds; None where nothing is defined. `interval` is over trainings and patients, or patients alone."""

    value: float | None
    std: float | None
    interval: tuple[float, float] | None


def mean_over(results: Results, variant: str, metric: str) -> Mean:
    """Mean of a variant over the sets that count."""
    scores = results.scores[metric]
    by_seed = np.mean([dataset_mean(scores.of(variant, name)) for name in results.counted], axis=0)
    if np.isnan(by_seed).any():
        return Mean(None, None, None)
    found = mean_estimate(scores, variant, results.counted)
    found = found if found.repeated else found.of_these_models
    interval = found.interval if metric == "hd95" else found.share_interval
    return Mean(fmean(by_seed), stdev(by_seed) if len(by_seed) > 1 else None, interval)


def of_dataset(results: Results, variant: str, dataset: str, metric: str) -> float | None:
    """Mean of a variant on one set, over seeds."""
    return _defined(float(np.mean(dataset_mean(results.scores[metric].of(variant, dataset)))))


def of_organs(results: Results, variant: str, dataset: str, metric: str) -> list[float | None]:
    """Mean of a variant on each organ of a set over cases, then seeds; None where no case has a value."""
    values = results.scores[metric].of(variant, dataset)
    return [mean(mean(map(_defined, seed[:, organ])) for seed in values) for organ in range(values.shape[2])]


def of_cases(results: Results, variant: str, dataset: str, metric: str) -> list[float | None]:
    """Mean of a variant on each case of a set over organs, then seeds."""
    values = results.scores[metric].of(variant, dataset)
    return [mean(mean(map(_defined, seed[case])) for seed in values) for case in range(values.shape[1])]


def ceilings(results: Results, dataset: str) -> list[float | None]:
    """Mean over cases, for each organ, of the DSC that a reference keeps on the network's grid."""
    result = results.result(dataset)
    return [mean(case.ceiling.get(organ) for case in result.cases) for organ in result.organs]


def pooled(results: Results, variant: str, dataset: str) -> Record:
    """Return what `evaluation.cases.summary` makes of the cases of all seeds: counts, medians, MONAI's convention."""
    if ("pooled", variant, dataset) not in results.computed:
        of_seeds = [results.result(dataset, variant, seed).cases for seed in results.seeds]
        results.computed["pooled", variant, dataset] = summary(
            [case.model_dump() for cases in of_seeds for case in cases]
        )
    return results.computed["pooled", variant, dataset]


def flat(results: Results) -> dict[str, float | None]:
    """Means of the main variant for summary.json: over sets, then of each set."""
    found = {f"mean_{metric}": mean_over(results, results.main, metric).value for metric in METRICS}
    for name in results.datasets:
        found |= {f"{name}_{metric}": of_dataset(results, results.main, name, metric) for metric in METRICS}
    validated = [results.runs[results.main, seed].training.score for seed in results.seeds]
    return {"val_score": fmean(validated)} | found


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
