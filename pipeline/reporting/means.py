"""Means over groups of datasets and over seeds, with their intervals."""

from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

from pipeline.datasets import DATASETS, SPECIALISTS
from pipeline.evaluation.significance import interval, share_interval
from pipeline.reporting.records import DatasetResult
from pipeline.reporting.results import METRICS, Results

CHANCE_AUC = 0.5
# Equal counts of right answers can differ in the last bit after averaging.
TIE = 1e-12


@dataclass(frozen=True)
class Mean:
    """Mean over seeds of the mean over datasets, as a fraction; `std` is the sample deviation over two or more seeds.

    `interval` is the bootstrap's 95 % interval over test cases; `datasets` are the ones that went in. The value is None
    without any.
    """

    value: float | None
    std: float | None
    datasets: tuple[str, ...]
    interval: tuple[float, float] | None = None


def groups(datasets: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the groups whose means are reported, in order: mean (all), 2d, 3d, A, B, C; without the empty ones."""
    table = {"mean": datasets}
    for dimension in (2, 3):
        table[f"{dimension}d"] = tuple(name for name in datasets if DATASETS[name].dimension == dimension)
    for specialist in SPECIALISTS:
        table[specialist] = tuple(name for name in datasets if DATASETS[name].specialist == specialist)
    return {group: names for group, names in table.items() if names}


def defined(results: Results, metric: str, datasets: tuple[str, ...]) -> tuple[str, ...]:
    """Datasets for which every variant and seed has the metric: a mean over others would compare unlike things."""
    return tuple(
        name
        for name in datasets
        if all(value is not None for variant in results.variants for value in results.values(variant, name, metric))
    )


def mean_over(results: Results, variant: str, metric: str, datasets: tuple[str, ...]) -> Mean:
    """Mean of a metric of one variant over the datasets for which it is defined."""
    used = defined(results, metric, datasets)
    if not used:
        return Mean(None, None, ())
    by_seed = [fmean(seed) for seed in zip(*(results.values(variant, name, metric) for name in used), strict=True)]
    std = stdev(by_seed) if len(by_seed) > 1 else None
    value, rows = fmean(by_seed), replicate_means(results, variant, metric, used)
    return Mean(value, std, used, own_interval(value, rows) if len(used) == 1 else defined_interval(rows))


def replicate_means(results: Results, variant: str, metric: str, datasets: tuple[str, ...]) -> np.ndarray:
    """Resampled means [B]: each row averaged over seeds, then over datasets; nan where any of them is undefined."""
    column = METRICS.index(metric)
    by_dataset = [
        np.mean([results.runs[variant, seed].replicates[name][:, column] for seed in results.seeds], axis=0)
        for name in datasets
    ]
    return np.mean(by_dataset, axis=0)


def defined_interval(replicates: np.ndarray) -> tuple[float, float] | None:
    """95 % interval of replicates [B]; None if fewer than half of them are defined, or if it would have no width.

    A resample in which the metric is undefined is left out: it is the same cases for every variant, so differences stay
    paired without it. Resamples keep the class mix, so answers that within each class are all right or all wrong
    cannot vary: that says nothing of other cases, and is no certainty.
    """
    finite = replicates[np.isfinite(replicates)]
    if not len(finite) or 2 * len(finite) < len(replicates):
        return None
    low, high = interval(finite)
    return (low, high) if high - low > TIE else None


def own_interval(value: float, replicates: np.ndarray) -> tuple[float, float] | None:
    """95 % interval of one dataset's metric; near 1 percentiles would be too narrow."""
    if defined_interval(replicates) is None:
        return None
    return share_interval(value, replicates[np.isfinite(replicates)])


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


def summary(results: Results) -> dict[str, float | None]:
    """Flat means of the main variant: mean_acc, mean_auc, then acc_2d, auc_2d, ... acc_C, auc_C."""
    flat = {}
    for group, names in groups(results.datasets).items():
        for metric in METRICS:
            key = f"mean_{metric}" if group == "mean" else f"{metric}_{group}"
            flat[key] = mean_over(results, results.main, metric, names).value
    return flat
