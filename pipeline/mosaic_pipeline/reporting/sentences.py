"""What the numbers say, in sentences made from them; nothing is claimed that they do not carry."""

from collections.abc import Collection

from mosaic_pipeline.reporting.comparisons import Comparison, compare_all, planned
from mosaic_pipeline.reporting.means import Mean, above_constant, defined, mean_over
from mosaic_pipeline.reporting.origin import describe_origin
from mosaic_pipeline.reporting.results import METRICS, Results
from mosaic_pipeline.reporting.tuning import recipe
from mosaic_pipeline.reporting.wording import (
    bounds,
    count,
    listing,
    p_value,
    plural,
    points,
    range_percent,
    signed,
    with_unit,
)

TITLES = {"acc": "ACC", "auc": "AUC"}
LISTED = 4  # variants whose spread is named one by one
# Scans that several datasets show slices or volumes of (MedMNIST v2, section on the sources).
SAME_SCANS = ("organamnist", "organcmnist", "organsmnist", "organmnist3d")


def answer(results: Results) -> list[str]:
    """All of the answer: its lead, where the main variant stands by each metric, and non-inferiority."""
    first = lead(results)
    return [*first, *(sentence for sentence in standings(results) if sentence not in first), *no_worse(results)]


def lead(results: Results) -> list[str]:
    """The first sentences of the report: the main question's answer, or without that question how all compare."""
    if not results.others:
        return [f"Only {results.main} was run: there is nothing to compare it with."]
    tables = [table for metric in METRICS if (table := compare_all(results, metric))]
    shared = planned(results)
    sentences = [_routing_or_sharing([table[shared] for table in tables])] if shared and tables else standings(results)
    return [*sentences, _one_training_each(results)] if len(results.seeds) == 1 else sentences


def standings(results: Results) -> list[str]:
    """Where the main variant stands among the others, a sentence for each metric; empty without others."""
    sentences = []
    for metric in METRICS if results.others else ():
        compared = list(compare_all(results, metric).values())
        if not compared:
            sentences.append(f"No dataset has an {TITLES[metric]}, so nothing can be said of it.")
        elif len(results.seeds) == 1:
            sentences.append(_range_of(compared))
        elif all(comparison.verdict == "too few differ" for comparison in compared):
            sentences.append(_too_few(compared))
        else:
            sentences.append(_tally(compared))
    return sentences


def _one_training_each(results: Results) -> str:
    return (
        f"One training each (seed {results.seeds[0]}) says nothing about methods, so no difference is called one: two "
        "trainings of one method differ too, by how much only more seeds can tell."
    )


def _range_of(compared: list[Comparison]) -> str:
    """How many other variants ended above and below the main one, and the smallest and largest difference."""
    above = sum(each.difference > 0 and not _is_level(each) for each in compared)
    below = sum(each.difference < 0 and not _is_level(each) for each in compared)
    level = len(compared) - above - below
    same = f", {level} level with it" if level else ""
    ends = [signed(pick(each.difference for each in compared)) for pick in (min, max)]
    reach = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    others = plural(len(compared), "other variant")
    return (
        f"In {TITLES[compared[0].metric]}, of {others} {above or 'none'} ended above {compared[0].main} and "
        f"{below or 'none'} below{same} ({reach} points)."
    )


def _routing_or_sharing(compared: list[Comparison]) -> str:
    """The main question, by each metric: does hard routing beat one adapter that all datasets share?"""
    hard, shared = f"hard routing ({compared[0].main})", f"one shared adapter ({compared[0].other})"
    if not compared[0].estimate.repeated:
        found = [f"{_standing(each)} in {TITLES[each.metric]}" for each in compared]
        return f"H{hard[1:]} against {shared}, one training each: {listing(found)}."
    by_verdict = {"beats": "lower", "loses to": "higher"}
    claims = []
    for verb, verdict in by_verdict.items():
        if titles := [TITLES[comparison.metric] for comparison in compared if comparison.verdict == verdict]:
            claims.append(f"{verb} {shared} in {listing(titles)}")
    claim = f"H{hard[1:]} {' and '.join(claims)}" if claims else f"No evidence that {hard} beats {shared}"
    found = [
        f"in {TITLES[each.metric]} it is {_standing(each, 'by ')} ({_interval(each)}), {_weight(each)}"
        for each in compared
    ]
    return f"{claim}: {'; '.join(found)}."


def _weight(comparison: Comparison) -> str:
    """What stands behind a difference, or what it lacks."""
    if comparison.called:
        return _counts(comparison)
    if comparison.verdict == "unclear":
        return f"but {_unclear(comparison)}"
    return "on too few differing datasets to tell" if comparison.verdict == "too few differ" else "within noise"


def _unclear(comparison: Comparison) -> str:
    """Why a difference whose interval excludes 0 is not called."""
    if comparison.interval is None:
        return "without an interval"
    if comparison.direction and (comparison.direction > 0) != (comparison.difference > 0):
        return "the ranks over datasets point the other way"
    if comparison.rank_p >= comparison.p:
        return "not consistently over datasets"
    return "not beyond chance among so many comparisons"


def no_worse(results: Results) -> list[str]:
    """Against which variants the main one is shown to be no worse by the margin or more, a sentence for each metric.

    None without a margin or with one training each.
    """
    if results.margin is None or len(results.seeds) == 1:
        return []
    sentences = []
    for metric in METRICS:
        compared = list(compare_all(results, metric).values())
        if not compared:
            continue
        shown = [each.other for each in compared if each.no_worse]
        rest = [each.other for each in compared if not each.no_worse]
        text = f"Non-inferiority in {TITLES[metric]}, by a margin of {points(results.margin)}: {results.main} is"
        parts = [f"shown to be worse by less than that, if at all, than {listing(shown)}"] if shown else []
        parts += (
            [
                f"not shown to be so than {listing(rest)}"
                if shown
                else f"not shown to be worse by less than that than {listing(rest)}"
            ]
            if rest
            else []
        )
        sentences.append(f"{text} {' and '.join(parts)}.")
    return sentences


def _too_few(compared: list[Comparison]) -> str:
    differing, least = max(each.differing for each in compared), min(each.least_p for each in compared)
    return (
        f"No difference can be called in {TITLES[compared[0].metric]}: with {plural(differing, 'differing dataset')} "
        f"and {plural(len(compared), 'comparison')} the adjusted p of the signed-rank test cannot be less than "
        f"{least:.2g}, even if all of them agreed."
    )


def _tally(compared: list[Comparison]) -> str:
    groups = {
        "beats": [each.other for each in compared if each.verdict == "lower"],
        "loses to": [each.other for each in compared if each.verdict == "higher"],
    }
    for verb, verdict in (
        ("is unclear against", "unclear"),
        ("is within noise of", "within noise"),
        ("differs on too few datasets from", "too few differ"),
    ):
        if others := [f"{each.other} ({_standing(each)})" for each in compared if each.verdict == verdict]:
            groups[verb] = others
    if len(compared) == 1:
        parts = [f"{verb} {others[0]}" for verb, others in groups.items() if others]
    else:
        parts = [_named(verb, others, len(compared)) for verb, others in groups.items()]
    return f"In {TITLES[compared[0].metric]}, {compared[0].main} {'; '.join(parts)}."


def _named(verb: str, others: list[str], of: int) -> str:
    return f"{verb} {len(others)} of {of}: {listing(others)}" if others else f"{verb} none"


def comparison_sentences(results: Results) -> list[tuple[str, list[str]]]:
    """For each other variant its name, and a sentence for each metric."""
    by_metric = [compare_all(results, metric) for metric in METRICS]
    return [
        (other, [comparison_sentence(table[other]) for table in by_metric if other in table])
        for other in results.others_on_page
    ]


def comparison_sentence(comparison: Comparison) -> str:
    """Say in words how the main variant stands to another, and by which evidence.

    The direction is in the words: sizes are positive, and so is what lies in their direction of an interval.
    """
    main, other, metric = comparison.main, comparison.other, TITLES[comparison.metric]
    size, counts = points(comparison.difference), _counts(comparison)
    interval = f" ({_interval(comparison)})" if comparison.estimate.repeated else ""
    p = (
        f"{'planned, ' if comparison.planned else ''}adjusted p {p_value(comparison.p)} for the mean and "
        f"{p_value(comparison.rank_p)} over datasets"
    )
    if comparison.called:
        verb = "beats" if comparison.verdict == "lower" else "loses to"
        return f"{main} {verb} {other} by {size} {metric}{interval}, {counts}, {p}."
    if _is_level(comparison):
        stands = f"{main} is level with {other} in {metric}{interval}, {counts}"
    else:
        way = "ahead of" if comparison.difference < 0 else "behind"
        stands = f"{main} is {way} {other} by {size} {metric}{interval}, {counts}"
    if comparison.verdict == "one training each":
        return f"{stands}: one training each."
    if comparison.verdict == "too few differ":
        return (
            f"{stands}; with {plural(comparison.differing, 'differing dataset')} it cannot be called a difference: "
            f"even if all of them agreed, the adjusted p over datasets would be {comparison.least_p:.2g}."
        )
    if comparison.verdict == "unclear":
        return f"{stands}, {p}: unclear, {_unclear(comparison)}."
    return f"{stands}, {p}: within noise, the interval includes 0."


def _is_level(comparison: Comparison) -> bool:
    return points(comparison.difference) == points(0) and not comparison.called


def _standing(comparison: Comparison, by: str = "") -> str:
    """Where the main variant is: '2.1 points ahead', or 'ahead by 2.1 points', or 'level'."""
    if _is_level(comparison):
        return "level"
    size, way = points(comparison.difference), "ahead" if comparison.difference < 0 else "behind"
    return f"{way} {by}{size}" if by else f"{size} {way}"


def _interval(comparison: Comparison) -> str:
    """The interval of the lead or of the arrears, whichever is there: its middle is positive."""
    if comparison.interval is None:
        return "no interval"
    low, high = comparison.interval
    sized = (low, high) if comparison.difference > 0 and not _is_level(comparison) else (-high, -low)
    return f"95\u00a0% CI {bounds(sized).replace('+', '')}"


def _counts(comparison: Comparison) -> str:
    """On how many datasets the main variant is higher, lower and level; the rest goes without saying without ties."""
    of = f"of {plural(comparison.datasets, 'dataset')}"
    if ties := comparison.datasets - comparison.differing:
        return f"higher on {comparison.wins}, lower on {comparison.losses}, level on {ties} {of}"
    return f"lower on {comparison.losses} {of}" if comparison.difference > 0 else f"higher on {comparison.wins} {of}"


def level(results: Results) -> list[str]:
    """Where the main variant stands by itself: means, and gain over a constant answer."""
    return [_means(results), _above_constant(results)]


def _means(results: Results) -> str:
    acc, auc = (mean_over(results, results.main, metric, results.datasets) for metric in METRICS)
    mean, where = (
        ("", f"on {results.title(acc.datasets[0])}")
        if len(acc.datasets) == 1
        else ("mean ", f"over {plural(len(acc.datasets), 'dataset')}")
    )
    reached = f"{results.main} reaches a {mean}test accuracy of {_with_interval(acc)} {where}"
    if auc.value is None:
        return f"{reached}; its AUC is undefined."
    fewer = f" over {plural(len(auc.datasets), 'dataset')}" if len(auc.datasets) != len(acc.datasets) else ""
    return f"{reached} and {'an' if not mean else 'a mean'} AUC of {_with_interval(auc)}{fewer}."


def _with_interval(mean: Mean) -> str:
    text = with_unit(mean.value)
    return f"{text} (95\u00a0% CI {range_percent(mean.interval)})" if mean.interval else text


def _above_constant(results: Results) -> str:
    parts = []
    for metric, what, than in (
        ("acc", "Its accuracy is", "above that of the best constant answer"),
        ("auc", "its AUC", "above 50\u00a0%"),
    ):
        names, rest = defined(results, metric, results.datasets), not_above_constant(results, metric)
        if len(names) > 1:
            but = f" (not on {listing(rest)})" if rest else ""
            parts.append(f"{what} {than} on {len(names) - len(rest)} of {plural(len(names), 'dataset')}{but}")
        elif names:
            parts.append(f"{what} {'not ' if rest else ''}{than}")
    return f"{', '.join(parts)}."


def not_above_constant(results: Results, metric: str) -> list[str]:
    """Titles of the datasets on which the main variant is no better than a constant answer."""
    names = defined(results, metric, results.datasets)
    return [results.title(name) for name in names if not above_constant(results, results.main, metric, (name,))]


def seeds(results: Results) -> str:
    """Say how many trainings stand behind a number, and what the intervals cover."""
    if len(results.seeds) == 1:
        return (
            f"One training each (seed {results.seeds[0]}). Intervals are those of the trained models over other test "
            "cases; nothing is known of other trainings, so differences between variants have neither interval nor p."
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
        "Intervals and p hold over other trainings and other test cases."
    )


def undefined_metrics(results: Results) -> list[str]:
    """Say for each dataset and metric without a value that it is left out of the means, and why."""
    notes = []
    for metric in METRICS:
        for name in results.datasets:
            if name in defined(results, metric, results.datasets):
                continue
            notes.append(
                f"{metric.upper()} of {results.title(name)} is undefined ({_why_undefined(results, name)}); "
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


def one_case(sizes: Collection[int]) -> str:
    """What one case of sets of these sizes weighs in accuracy: 'one case is 1.0 points', or '1.0 to 2.1 points'."""
    least, most = (points(1 / size).removesuffix(" points") for size in (max(sizes), min(sizes)))
    return f"one case is {least if least == most else f'{least} to {most}'} points"


def limits(results: Results) -> list[str]:
    """What the numbers cannot show: data, backbone, size of the tests, seeds, selection, recipe, number of looks."""
    sizes = [results.main_run.results[name].n for name in results.datasets]
    looks = (
        [
            "ACC and AUC are two families of tests, each with a chance of 5\u00a0% of any false call in a section; a "
            "reader who takes whichever of the two is called has up to twice that."
        ]
        if results.others and len(results.seeds) > 1
        else []
    )
    across = (
        [
            "The signed-rank test asks whether variants differ across datasets like these; with the recipes and the "
            "backbone at hand it says nothing about other datasets, recipes or backbones."
        ]
        if results.others and len(results.seeds) > 1
        else []
    )
    pretrained = (
        ["The backbone's weights are random. What adapters and their routing bring to a pretrained one may differ."]
        if results.main_run.training.weights.random
        else []
    )
    return [
        describe_origin(results).sentence,
        *pretrained,
        f"A test set holds {_range(sizes)} images; {one_case(sizes)} of accuracy (for several labels at most). A mean "
        "over datasets weighs each of them alike, however many images it has.",
        seeds(results),
        *looks,
        *across,
        *_dependent(results),
        "The round, and whether student or teacher is deployed, were chosen by the validation score; the test split "
        "was read once, by the evaluation, after that choice.",
        *recipe(results),
    ]


def _dependent(results: Results) -> list[str]:
    """What the tests take for independent and is not, in MedMNIST's own images."""
    if all(results.origin(name).source == "phantom" for name in results.datasets):
        return []
    scans = [results.title(name) for name in SAME_SCANS if name in results.datasets]
    shared = f"{listing(scans)} show the same scans and are no independent datasets; " if len(scans) > 1 else ""
    text = f"{shared}several images of a set can be of one patient, and the intervals take them for independent."
    more, what = "Both make" if shared else "That makes", "intervals shorter than they should be"
    if len(results.seeds) > 1:
        what = f"{what} and tests call more than they should"
    return [f"{text[0].upper()}{text[1:]} {more} {what}."]


def _range(numbers: Collection[int]) -> str:
    least, most = min(numbers), max(numbers)
    return count(least) if least == most else f"{count(least)} to {count(most)}"
