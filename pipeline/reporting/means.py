"""Means over groups of datasets and over seeds, and how two variants compare."""

from dataclasses import dataclass
from statistics import fmean, stdev

from pipeline.datasets import DATASETS, SPECIALISTS
from pipeline.reporting.results import METRICS, DatasetResult, Results

CHANCE_AUC = 0.5


@dataclass(frozen=True)
class Mean:
    """Mean over seeds of the mean over datasets, as a fraction; `std` is the sample deviation over two or more seeds.

    `datasets` are the ones that went in; the value is None without any.
    """

    value: float | None
    std: float | None
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """The main variant against another: difference of their means (main minus other) and on how many datasets."""

    metric: str
    other: str
    main_mean: Mean
    other_mean: Mean
    higher: int
    lower: int
    equal: int

    @property
    def difference(self) -> float:
        """Main minus other, as a fraction."""
        return self.main_mean.value - self.other_mean.value


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
    return Mean(fmean(by_seed), stdev(by_seed) if len(by_seed) > 1 else None, used)


def compare(results: Results, other: str, metric: str) -> Comparison | None:
    """Compare the main variant with another over all datasets; None where no dataset has the metric."""
    main_mean = mean_over(results, results.main, metric, results.datasets)
    other_mean = mean_over(results, other, metric, results.datasets)
    if not main_mean.datasets:
        return None
    differences = [
        fmean(results.values(results.main, name, metric)) - fmean(results.values(other, name, metric))
        for name in main_mean.datasets
    ]
    # Equal counts of right answers can differ in the last bit after averaging over seeds.
    higher = sum(difference > 1e-12 for difference in differences)
    lower = sum(difference < -1e-12 for difference in differences)
    return Comparison(metric, other, main_mean, other_mean, higher, lower, len(differences) - higher - lower)


def constant_answer(result: DatasetResult) -> float:
    """Accuracy of the best constant answer: always the most frequent test class (for each label, if there are many)."""
    counts = result.class_counts
    if result.multi_label:
        return fmean(max(pair) / result.n for pair in counts)
    return max(positive for positive, _ in counts) / result.n


def summary(results: Results) -> dict[str, float | None]:
    """Flat means of the main variant: mean_acc, mean_auc, then acc_2d, auc_2d, ... acc_C, auc_C."""
    flat = {}
    for group, names in groups(results.datasets).items():
        for metric in METRICS:
            key = f"mean_{metric}" if group == "mean" else f"{metric}_{group}"
            flat[key] = mean_over(results, results.main, metric, names).value
    return flat
