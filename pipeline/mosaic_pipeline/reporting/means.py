"""Means over groups of datasets and over seeds, with their intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import cast

import numpy as np

from mosaic_pipeline.evaluation.inference import Estimate, contrast, wilson
from mosaic_pipeline.evaluation.undefined import mean_of_defined
from mosaic_pipeline.present import all_present
from mosaic_pipeline.reporting.records import DatasetResult
from mosaic_pipeline.reporting.results import METRICS, Results, Run, once

CHANCE_AUC = 0.5
# Equal counts of right answers can differ in the last bit after averaging.
TIE = 1e-12


@dataclass(frozen=True)
class Mean:
    """Mean over seeds of the mean over datasets, as a fraction; `std` is the sample deviation over two or more seeds.

    `interval` is the 95 % interval: over trainings and test cases of the method, or with one training each over test
    cases of that model. `datasets` are the ones that went in; the value is None without any.
    """

    value: float | None
    std: float | None
    datasets: tuple[str, ...]
    interval: tuple[float, float] | None = None


def groups(results: Results) -> dict[str, tuple[str, ...]]:
    """Return the groups whose means are reported, in order: mean (all), 2d, 3d, A, B, ...; without the empty ones."""
    table = {"mean": results.datasets}
    for dimension in (2, 3):
        of_dimension = (name for name in results.datasets if results.dataset(name).dimension == dimension)
        table[f"{dimension}d"] = tuple(of_dimension)
    return {group: names for group, names in (table | results.groups).items() if names}


def defined(results: Results, metric: str, datasets: tuple[str, ...]) -> tuple[str, ...]:
    """Datasets for which every variant and seed has the metric: a mean over others would compare unlike things."""
    return tuple(name for name in datasets if name in results.everywhere[metric])


def estimate(
    results: Results, variants: Sequence[str], metric: str, datasets: tuple[str, ...], weights: Sequence[float]
) -> Estimate:
    """Estimate a weighted sum of variants' means over datasets, all of which must have the metric."""
    values = np.array(
        [
            np.mean([all_present(results.values(variant, name, metric)) for name in datasets], axis=0)
            for variant in variants
        ],
        dtype=np.float64,
    )
    summed = cast("np.ndarray", sum(results.covariance(variants, name, metric) for name in datasets))
    return contrast(values, summed / len(datasets) ** 2, weights)


@once
def mean_over(results: Results, variant: str, metric: str, datasets: tuple[str, ...]) -> Mean:
    """Mean of a metric of one variant over the datasets for which it is defined."""
    used = defined(results, metric, datasets)
    if not used:
        return Mean(None, None, ())
    by_seed = [fmean(seed) for seed in zip(*(results.values(variant, name, metric) for name in used), strict=True)]
    std = stdev(by_seed) if len(by_seed) > 1 else None
    value, found = fmean(by_seed), estimate(results, (variant,), metric, used, (1.0,))
    if len(used) > 1 or found.repeated:
        interval = (found if found.repeated else found.of_these_models).share_interval
    else:
        interval = case_interval(results, variant, results.seeds[0], used[0], metric)
    return Mean(value, std, used, interval)


def over(results: Results) -> str:
    """What the intervals of means are over, in words."""
    return "trainings and test cases" if len(results.seeds) > 1 else "test cases"


def model_interval(metric: str, value: float, contributions: np.ndarray) -> tuple[float, float] | None:
    """95 % interval over test cases of one trained model's ACC or AUC on one dataset, from contributions [N].

    Of AUC None where no case varies. The ACC of several labels is that of as many independent answers as have its
    variance.
    """
    return _interval(metric, value, float(np.var(contributions)), len(contributions))


def case_interval(results: Results, variant: str, seed: int, dataset: str, metric: str) -> tuple[float, float] | None:
    """Return `model_interval` of one training on one dataset; None where the metric is undefined."""
    result, place = results.runs[variant, seed].results[dataset], results.seeds.index(seed)
    variance = results.cases(variant, results.main).variance[dataset, metric][place]
    value = getattr(result, metric)
    return None if value is None else _interval(metric, value, float(variance), result.n)


def _interval(metric: str, value: float, variance: float, cases: int) -> tuple[float, float] | None:
    variance = variance / cases
    if metric == "acc":
        answers = value * (1 - value)
        return wilson(value, answers / variance if answers and variance else cases)
    return Estimate(value, 0.0, math.inf, math.sqrt(variance)).share_interval


def constant_answer(result: DatasetResult) -> float:
    """Accuracy of the best constant answer: always the most frequent test class (for each label, if there are many)."""
    counts = result.class_counts
    if result.multi_label:
        return fmean(max(pair) / result.n for pair in counts)
    return max(positive for positive, _ in counts) / result.n


def above_constant(results: Results, variant: str, metric: str, datasets: tuple[str, ...]) -> bool | None:
    """Whether a variant's mean ACC or AUC is above that of the best constant answer; None where it is undefined."""
    mean = mean_over(results, variant, metric, datasets)
    return None if mean.value is None else mean.value - constant_mean(results, metric, mean.datasets) > TIE


def constant_mean(results: Results, metric: str, datasets: tuple[str, ...]) -> float:
    """ACC or AUC of the best constant answer, mean over datasets."""
    if metric == "auc":
        return CHANCE_AUC
    return fmean(constant_answer(results.main_run.results[name]) for name in datasets)


def validation(results: Results, variant: str) -> dict[str, float | None]:
    """Score, ACC and AUC of what a variant deploys on the validation splits, means over seeds: what to choose by."""
    found = {}
    for measure in ("score", *METRICS):
        mean = fmean(_validated(results.runs[variant, seed], measure) for seed in results.seeds)
        found[f"val_{measure}"] = mean if math.isfinite(mean) else None
    return found


def _validated(run: Run, measure: str) -> float:
    """Score, ACC or AUC of what one training deploys, mean over datasets; nan where it has none."""
    training, history = run.training, run.history
    if training.best_round is not None:
        return history[f"{training.deployed}_{measure}"][training.best_round - 1]
    if measure == "score":
        return math.nan if training.score is None else training.score
    own = training.best_rounds.items()
    return float(mean_of_defined([history[f"{name}/{best.deployed}_{measure}"][best.round - 1] for name, best in own]))


def summary(results: Results) -> dict[str, float | None]:
    """Flat means of the main variant: on validation, to choose by, then mean_acc, mean_auc, acc_2d, ... of the test."""
    flat = validation(results, results.main)
    for group, names in groups(results).items():
        for metric in METRICS:
            key = f"mean_{metric}" if group == "mean" else f"{metric}_{group}"
            flat[key] = mean_over(results, results.main, metric, names).value
    return flat
