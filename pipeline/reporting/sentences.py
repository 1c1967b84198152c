"""What the numbers say, in sentences made from them; nothing is claimed that they do not carry."""

from collections.abc import Collection
from statistics import fmean

from pipeline.datasets import DATASETS
from pipeline.reporting.comparisons import ALPHA, Comparison, compare_all, excludes_zero, smallest_p
from pipeline.reporting.means import CHANCE_AUC, Mean, constant_answer, defined, mean_over
from pipeline.reporting.origin import describe_origin
from pipeline.reporting.results import METRICS, Results
from pipeline.reporting.wording import bounds, count, listing, p_value, plural, points, range_percent, with_unit

TITLES = {"acc": "ACC", "auc": "AUC"}
LISTED = 4  # variants whose spread is named one by one


def answer(results: Results) -> list[str]:
    """The first sentences of the report: for each metric, which variants the main one beats, and which beat it."""
    if not results.others:
        return [f"Only {results.main} was run: there is nothing to compare it with."]
    sentences = []
    for metric in METRICS:
        compared = list(compare_all(results, metric).values())
        if not compared:
            sentences.append(f"No dataset has an {TITLES[metric]}, so nothing can be said of it.")
        elif not compared[0].possible:
            sentences.append(_too_few(compared))
        else:
            sentences.append(_tally(results.main, TITLES[metric], compared))
    return list(dict.fromkeys(sentences))


def _too_few(compared: list[Comparison]) -> str:
    datasets, others = compared[0].datasets, len(compared)
    least = smallest_p(datasets, others)
    return (
        f"No difference can be called in {TITLES[compared[0].metric]}: with {plural(datasets, 'dataset')} and "
        f"{plural(others, 'comparison')} the signed-rank test cannot give less than p = {least:.2g}, even if all "
        "datasets agreed."
    )


def _tally(main: str, metric: str, compared: list[Comparison]) -> str:
    by_verdict = {
        "beats": [comparison.other for comparison in compared if comparison.verdict == "lower"],
        "loses to": [comparison.other for comparison in compared if comparison.verdict == "higher"],
        "is within noise of": [comparison.other for comparison in compared if comparison.verdict == "within noise"],
    }
    if len(compared) == 1:
        parts = [f"{verb} {others[0]}" for verb, others in by_verdict.items() if others]
    else:
        parts = [_named(verb, others, len(compared)) for verb, others in by_verdict.items()]
    return f"In {metric}, {main} {'; '.join(parts)}."


def _named(verb: str, others: list[str], of: int) -> str:
    return f"{verb} {len(others)} of {of}: {listing(others)}" if others else f"{verb} none"


def comparison_sentences(results: Results) -> list[tuple[str, list[str]]]:
    """For each other variant its name, and a sentence for each metric."""
    by_metric = [compare_all(results, metric) for metric in METRICS]
    return [
        (other, [comparison_sentence(table[other]) for table in by_metric if other in table])
        for other in results.others
    ]


def comparison_sentence(comparison: Comparison) -> str:
    """Say in words how the main variant stands to another, and by which evidence."""
    main, other, metric = comparison.main, comparison.other, TITLES[comparison.metric]
    lead = -comparison.difference
    size = points(lead)
    flipped = comparison.interval and (-comparison.interval[1], -comparison.interval[0])
    p = f"Holm-adjusted p {p_value(comparison.p)}"
    interval = f"95\u00a0% CI {bounds(flipped).replace('+', '')}"
    of = f"of {plural(comparison.datasets, 'dataset')}"
    if comparison.verdict == "lower":
        return f"{main} beats {other} by {size} {metric} ({interval}), higher on {comparison.wins} {of}, {p}."
    if comparison.verdict == "higher":
        return f"{main} loses to {other} by {size} {metric} ({interval}), lower on {comparison.losses} {of}, {p}."
    way = "level with" if size == points(0) else f"{size} {'above' if lead > 0 else 'below'}"
    level = f"{main} is {way} {other} in {metric} ({interval}), higher on {comparison.wins} {of}"
    if comparison.verdict == "too few datasets":
        return f"{level}; too few datasets to call it a difference."
    return f"{level}, {p}: within noise, {_failed(comparison)}."


def _failed(comparison: Comparison) -> str:
    reasons = []
    if comparison.interval is None:
        reasons.append("the interval is undefined")
    elif not excludes_zero(comparison.interval):
        reasons.append("the interval includes 0")
    if not comparison.p < ALPHA:
        reasons.append(f"p is not below {ALPHA}")
    return "because " + listing(reasons)


def level(results: Results) -> list[str]:
    """Where the main variant stands by itself: means, and gain over a constant answer."""
    return [_level(results), _above_constant(results)]


def _level(results: Results) -> str:
    acc, auc = (mean_over(results, results.main, metric, results.datasets) for metric in METRICS)
    fewer = f" over {len(auc.datasets)}" if len(auc.datasets) != len(acc.datasets) else ""
    return (
        f"{results.main} reaches a mean test accuracy of {_with_interval(acc)} over "
        f"{plural(len(acc.datasets), 'dataset')} and a mean AUC of {_with_interval(auc)}{fewer}."
    )


def _with_interval(mean: Mean) -> str:
    text = with_unit(mean.value)
    return f"{text} (95\u00a0% CI {range_percent(mean.interval)})" if mean.interval else text


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


def seeds(results: Results) -> str:
    """Say how many trainings stand behind a number, and what the intervals do not cover."""
    if len(results.seeds) == 1:
        return (
            f"One seed ({results.seeds[0]}) was trained for each variant. The intervals cover the choice of test "
            "cases; the spread between trainings is not known, and another seed might give another order."
        )
    means = {variant: mean_over(results, variant, "acc", results.datasets) for variant in results.variants}
    stds = {variant: mean.std for variant, mean in means.items() if mean.std is not None}
    if len(stds) > LISTED:
        known = f": {100 * min(stds.values()):.1f} to {100 * max(stds.values()):.1f} points of mean accuracy"
    else:
        spreads = [f"{100 * std:.1f} for {variant}" for variant, std in stds.items()]
        known = f": {listing(spreads)} points of mean accuracy" if spreads else ""
    return (
        f"Means are over {plural(len(results.seeds), 'seed')}; ± is the sample standard deviation between them{known}. "
        "The intervals cover the choice of test cases, not that spread."
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
    """What the numbers cannot show: data, size of the tests, seeds, selection, recipe, number of looks."""
    sizes = {name: results.main_run.results[name].n for name in results.datasets}
    smallest = min(sizes, key=sizes.__getitem__)
    cells = len(results.others) * len(results.datasets)
    looks = (
        [
            f"The marks of single datasets are not adjusted for how many there are: of {count(cells)} differences that "
            f"were all chance, about {max(1, round(ALPHA * cells))} would be marked. Only the comparison of means is "
            "adjusted."
        ]
        if cells
        else []
    )
    return [
        describe_origin(results).sentence,
        f"Test sets hold {_range(sizes.values())} images; on the smallest, {DATASETS[smallest].title}, one image is "
        f"{points(1 / sizes[smallest])} of accuracy. A mean over datasets weighs each of them alike, however many "
        "images it has.",
        seeds(results),
        "The signed-rank test asks whether variants differ across datasets like these; with one recipe and one "
        "backbone it says nothing about other datasets, recipes or backbones.",
        *looks,
        "The round, and whether student or teacher is deployed, were chosen by the validation score; the test split "
        "was read once, by the evaluation, after that choice.",
        "Every variant was trained with the same recipe, that of the main variant, except for the settings in which "
        "they differ; tuned on its own, a variant might rank otherwise.",
    ]


def _range(numbers: Collection[int]) -> str:
    least, most = min(numbers), max(numbers)
    return count(least) if least == most else f"{count(least)} to {count(most)}"
