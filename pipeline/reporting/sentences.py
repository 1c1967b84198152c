"""What the numbers say, in sentences made from them; nothing is claimed that they do not carry."""

from collections.abc import Collection
from statistics import fmean

from pipeline.datasets import DATASETS
from pipeline.reporting.means import CHANCE_AUC, Comparison, compare, constant_answer, defined, mean_over
from pipeline.reporting.origin import describe_origin
from pipeline.reporting.results import METRICS, Results
from pipeline.reporting.wording import count, listing, plural, points, with_unit


def headline(results: Results) -> list[str]:
    """Sentences for the top of the report: level, gain over a constant answer, each comparison, seeds."""
    return [
        _level(results),
        _above_constant(results),
        *(_comparison(results, other) for other in results.variants[1:]),
        _seeds(results),
    ]


def _level(results: Results) -> str:
    acc, auc = (mean_over(results, results.main, metric, results.datasets) for metric in METRICS)
    fewer = f" over {len(auc.datasets)}" if len(auc.datasets) != len(acc.datasets) else ""
    return (
        f"{results.main} reaches a mean test accuracy of {with_unit(acc.value)} over "
        f"{plural(len(acc.datasets), 'dataset')} and a mean AUC of {with_unit(auc.value)}{fewer}."
    )


def _above_constant(results: Results) -> str:
    main, names = results.main, results.datasets
    with_acc, with_auc = defined(results, "acc", names), defined(results, "auc", names)
    by_acc = sum(
        fmean(results.values(main, name, "acc")) > constant_answer(results.main_run.results[name]) for name in with_acc
    )
    by_auc = sum(fmean(results.values(main, name, "auc")) > CHANCE_AUC for name in with_auc)
    return (
        f"Its accuracy is above that of the best constant answer on {by_acc} of {plural(len(with_acc), 'dataset')}, "
        f"its AUC above 50\u00a0% on {by_auc} of {len(with_auc)}."
    )


def _comparison(results: Results, other: str) -> str:
    comparisons = [compare(results, other, metric) for metric in METRICS]
    parts = [_difference(results.main, comparison) for comparison in comparisons if comparison]
    if not parts:
        return f"{results.main} and {other} share no dataset on which a metric is defined."
    return f"Against {other}: " + "; ".join(parts) + "."


def _difference(main: str, comparison: Comparison) -> str:
    metric = {"acc": "mean accuracy", "auc": "mean AUC"}[comparison.metric]
    values = f"({with_unit(comparison.main_mean.value)} against {with_unit(comparison.other_mean.value)})"
    size = points(comparison.difference)
    if size == points(0):
        level = f"{metric} of {main} is the same to within 0.05 points {values}"
    else:
        level = f"{metric} of {main} is {size} {'higher' if comparison.difference > 0 else 'lower'} {values}"
    counts = {"higher": comparison.higher, "lower": comparison.lower, "equal": comparison.equal}
    parts = [f"{word} on {number}" for word, number in counts.items() if number]
    return f"{level}, {', '.join(parts)} of {plural(sum(counts.values()), 'dataset')}"


def _seeds(results: Results) -> str:
    if len(results.seeds) == 1:
        one = f"One seed ({results.seeds[0]}) was trained for each variant, so the spread between seeds is not known"
        return f"{one}: no difference between variants is shown to be more than chance."
    spreads = []
    for variant in results.variants:
        mean = mean_over(results, variant, "acc", results.datasets)
        if mean.std is not None:
            spreads.append(f"{100 * mean.std:.1f} for {variant}")
    known = f": {listing(spreads)} points of mean accuracy" if spreads else ""
    return (
        f"Means are over {plural(len(results.seeds), 'seed')}; ± is the sample standard deviation between them{known}. "
        "No significance test was made."
    )


def undefined_metrics(results: Results) -> list[str]:
    """Say for each dataset and metric without a value that it is left out of the means, and why."""
    notes = []
    for metric in METRICS:
        for name in results.datasets:
            if name in defined(results, metric, results.datasets):
                continue
            notes.append(
                f"{metric.upper()} of {DATASETS[name].title} is undefined ({_why_undefined(results, name)}); "
                "the dataset is left out of this metric's means for every variant."
            )
    return notes


def _why_undefined(results: Results, name: str) -> str:
    result = results.main_run.results[name]
    classes = list(zip(result.data.class_names, result.class_counts, strict=True))
    if missing := [title for title, (positive, _) in classes if positive == 0]:
        return f"no test image is “{missing[0]}”"
    if everywhere := [title for title, (_, negative) in classes if negative == 0]:
        return f"every test image is “{everywhere[0]}”"
    return "not every run has a finite value"


def limits(results: Results) -> list[str]:
    """What the numbers cannot show: data, size of the tests, seeds, selection."""
    sizes = {name: results.main_run.results[name].n for name in results.datasets}
    smallest = min(sizes, key=sizes.__getitem__)
    return [
        describe_origin(results).sentence,
        f"Test sets hold {_range(sizes.values())} images; on the smallest, {DATASETS[smallest].title}, one image is "
        f"{points(1 / sizes[smallest])} of accuracy. A mean over datasets weighs each of them alike, however many "
        "images it has.",
        _seeds(results),
        "The round, and whether student or teacher is deployed, were chosen by the validation score; the test split "
        "was read once, by the evaluation, after that choice.",
        "Each variant was trained with the settings listed above; tuned on its own, it might rank otherwise.",
    ]


def _range(numbers: Collection[int]) -> str:
    least, most = min(numbers), max(numbers)
    return count(least) if least == most else f"{count(least)} to {count(most)}"
