"""What the numbers say, in sentences made from them; nothing is claimed that they do not carry."""

from mosaic_pipeline.evaluation.verdict import ALPHA
from mosaic_pipeline.reporting.wording import bounds, listing, p_value, plural, points
from mosaic_pipeline.segmentation.config import Config
from mosaic_pipeline.segmentation.data.splits import BY_SLICES
from mosaic_pipeline.segmentation.evaluation.statistics import Comparison
from mosaic_pipeline.segmentation.reporting.origin import describe_origin, one_patient, tested_on
from mosaic_pipeline.segmentation.reporting.results import TESTED, TITLES, Results

FEW = 6  # patients that differ, below which the signed-rank test cannot say yes


def lead(results: Results) -> list[str]:
    """The first sentences of the report: what experts, and what the gate, bring; or how all compare."""
    if not results.others:
        return [f"Only {results.main} was run: there is nothing to compare it with."]
    if not results.by_patient:
        return ["Nothing is compared: all sets were " + BY_SLICES + "."]
    asked = questions(results) or list(results.others)
    sentences = [compared(results, other) for other in asked]
    return [*sentences, few(results)] if few(results) else sentences


def questions(results: Results) -> list[str]:
    """The variants that answer the main questions: one MLP for all in the place of experts, and no gate."""
    main = results.configs[results.main].experts
    if main.routing in ("shared", "single"):
        return []
    found: list[str] = []
    for other in results.others:
        experts = results.configs[other].experts
        if experts.added != main.added:
            continue
        if experts.routing == "shared" and experts.width == main.width and experts.head == main.head:
            found.insert(0, other)
        elif main.mix == "gated" and experts.mix == "hard" and experts.of == main.of and experts.where == main.where:
            found.append(other)
    return found


def few(results: Results) -> str:
    """What keeps anything from being called, whatever the numbers are; empty if nothing does."""
    if len(results.seeds) == 1:
        return (
            f"One training each (seed {results.seeds[0]}) says nothing about methods, so no difference is called one: "
            "two trainings of one method differ too, by how much only more seeds can tell."
        )
    patients = sum(results.result(name).patients for name in results.by_patient)
    if patients < FEW:
        known = plural(patients, "test patient")
        return f"With {known} nothing can be called: the signed-rank test takes {FEW} that differ."
    return ""


def what(config: Config, main: Config) -> str:
    """What a variant is, in the words of the question."""
    experts = config.experts
    if experts.routing == "single":
        return "a network for each set"
    if experts.routing == "shared":
        return "one MLP for all" if experts.width <= main.experts.width else "one wide MLP for all"
    if experts.added:
        last = "the last" if experts.added == 1 else f"the last {experts.added}"
        return f"experts without a gate, {last} of which joined when the others were trained"
    return "experts mixed by a gate" if experts.mix == "gated" else "experts without a gate"


def compared(results: Results, other: str) -> str:
    """Say how the main variant stands to another by every tested metric, and that it is unclear where it is."""
    main = results.configs[results.main]
    names = [f"{name} ({what(results.configs[name], main)})" for name in (results.main, other)]
    found = [results.comparisons[metric][other] for metric in TESTED]
    called = [each for each in found if is_called(each)]
    parts = [f"in {TITLES[each.metric]} {_stands(each)}" for each in found]
    if not called:
        why = {_why(each) for each in found}
        common = f"; {why.pop()}" if len(why) == 1 else ""
        if not common:
            parts = [f"{part}, {_why(each)}" for part, each in zip(parts, found, strict=True)]
        return f"It is unclear whether {names[0]} or {names[1]} segments better: {'; '.join(parts)}{common}."
    better = {
        sign: [TITLES[each.metric] for each in called if (each.estimate.value < 0) == sign] for sign in (True, False)
    }
    claims = [
        f"{verb} {names[1]} in {listing(titles)}"
        for verb, titles in zip(("beats", "loses to"), better.values(), strict=True)
        if titles
    ]
    parts = [
        f"{part}, {_p(each)}" if is_called(each) else f"{part}: unclear, {_why(each)}"
        for part, each in zip(parts, found, strict=True)
    ]
    return f"{names[0]} {' and '.join(claims)}: {'; '.join(parts)}."


def is_called(comparison: Comparison) -> bool:
    """Whether both tests say that there is a difference."""
    return comparison.verdict in ("higher", "lower")


def interval_of(comparison: Comparison) -> tuple[float, float] | None:
    """Of the difference over trainings and patients; with one training each, of those two over patients."""
    return comparison.estimate.interval if comparison.estimate.repeated else comparison.over_patients


def verdict_words(comparison: Comparison) -> str:
    """The verdict as tables have it: whatever is not called is unclear, for a reason."""
    return (
        comparison.verdict
        if is_called(comparison) or comparison.verdict == "unclear"
        else f"unclear: {comparison.verdict}"
    )


def _stands(comparison: Comparison) -> str:
    """'m4oe is 1.2 points ahead (95 % CI ...), higher in 13 of 24 patients'."""
    value, interval = comparison.estimate.value, interval_of(comparison)
    flat = points(value) == points(0) and not is_called(comparison)
    stands = "level" if flat else f"{points(value)} {'ahead' if value < 0 else 'behind'}"
    if interval:
        low, high = interval if value > 0 and not flat else (-interval[1], -interval[0])
        over = "" if comparison.estimate.repeated else " over patients"
        stands += f" (95\u00a0% CI {bounds((low, high)).replace('+', '')}{over})"
    higher = comparison.losses if value <= 0 else comparison.wins
    word = "higher" if value <= 0 else "lower"
    return f"{comparison.main} is {stands}, {word} in {higher} of {plural(comparison.patients, 'patient')}"


def _p(comparison: Comparison) -> str:
    return f"adjusted p {p_value(comparison.p)} for the mean and {p_value(comparison.rank_p)} over patients"


def _why(comparison: Comparison) -> str:
    """Why a difference is not called."""
    differing = comparison.wins + comparison.losses
    if comparison.verdict == "within noise":
        return "the interval includes 0"
    if comparison.verdict == "too few differ":
        return (
            f"with {plural(differing, 'patient')} that {'differs' if differing == 1 else 'differ'} none could be called"
        )
    if comparison.verdict == "one training each":
        return "one training each"
    return f"the mean and the single patients do not both say so (adjusted p below {ALPHA})"


def seeds(results: Results) -> str:
    """Say how many trainings and patients stand behind a number, and what the intervals cover."""
    on = f"Tested on {tested_on(results)}; the unit is the patient, never the scan, the slice or the organ."
    if len(results.seeds) == 1:
        return (
            f"One training each (seed {results.seeds[0]}). {on} Intervals are those of the trained models over other "
            "patients; nothing is known of other trainings."
        )
    return (
        f"Means are over {plural(len(results.seeds), 'seed')}; ± is the sample standard deviation between them. {on} "
        "Intervals and p hold over other trainings and other patients."
    )


def only_first(results: Results, variant: str) -> str:
    """Say that seeds cannot be averaged, as each dealt out experts of its own; empty where they can."""
    if not results.dealt_anew(variant):
        return ""
    return f" Of seed {results.seeds[0]} alone: each seed dealt out experts anew, so they have no mean over seeds."


def limits(results: Results) -> list[str]:
    """Say what the evidence cannot show."""
    said = [describe_origin(results).sentence, seeds(results)]
    if alone := one_patient(results, results.datasets):
        said.append(
            f"The test scans of {listing(alone)} are of one patient: they say nothing about accuracy on any other."
        )
    if not all(results.result(name).source == "phantom" for name in results.datasets):
        said.append(
            "Reference masks are taken as they come. Where they are a model's output, as TotalSegmentator's labels "
            "are, "
            "agreement with them is agreement with that model."
        )
    said.append("Published numbers are shown only for the same split, grid and definitions, so here are none.")
    said.append("Slices are segmented one by one, in 2D: nothing holds neighbouring slices together.")
    return said
