"""When a difference between variants is called one, and the words for it."""

from dataclasses import replace

import numpy as np
import pytest

from mosaic_pipeline.reporting.comparisons import compare_all, on_dataset, on_every_dataset, planned
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sentences import answer, comparison_sentence, comparison_sentences, lead, no_worse

EIGHT = ("pathmnist", "bloodmnist", "dermamnist", "octmnist", "organamnist", "breastmnist", "chestmnist", "tissuemnist")
SEEDS = (1, 2, 3)
# With three trainings whose means are -spread, 0 and +spread off, beside a main variant that does not vary: Student's t
# of two degrees of freedom times spread / sqrt(3).
REACH = 4.302653 / 3**0.5


def _load(inputs, **more):
    inputs.write()
    return load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root, **more)


def _make(inputs, gains, spread, others=("shared",), datasets=EIGHT, seeds=SEEDS):
    """Main variant at 0.7; others lower by `gains` (by dataset), their trainings `spread` apart."""
    inputs.variants, inputs.datasets, inputs.seeds = ("mosaic", *others), datasets, seeds
    for place, seed in enumerate(seeds):
        for dataset, gain in zip(datasets, gains, strict=True):
            for variant in inputs.variants:
                value = 0.7 if variant == "mosaic" else 0.7 - gain + spread * (place - 1)
                inputs.metrics[variant, seed, dataset] = {"acc": value, "auc": value}
    return _load(inputs)


def _says(comparison):
    return comparison_sentence(comparison).replace("\u00a0", " ").replace("\N{MINUS SIGN}", "-")


CLEAR = [0.0304, 0.02, 0.04, 0.01, 0.02, 0.03, 0.05, 0.02]
MIXED = [0.2, -0.01, 0.02, -0.03, 0.04, -0.02, 0.01, -0.005]


def test_a_difference_is_the_other_minus_the_main_one_and_counts_datasets(inputs):
    results = _make(inputs, [0.1, 0, -0.05, -0.05, -0.05, -0.05, -0.05, -0.05], 0.01)
    comparison = compare_all(results, "acc")["shared"]
    assert comparison.difference == pytest.approx(0.025)
    assert (comparison.wins, comparison.losses, comparison.datasets) == (1, 6, 8)
    assert comparison.interval == pytest.approx((0.025 - 0.01 * REACH, 0.025 + 0.01 * REACH), rel=1e-5)


@pytest.mark.parametrize(
    ("gains", "spread", "verdict", "end"),
    [
        (CLEAR, 0.002, "lower", "planned, adjusted p = 0.002 for the mean and = 0.008 over datasets."),
        ([-gain for gain in CLEAR], 0.002, "higher", "= 0.008 over datasets."),
        (CLEAR, 0.2, "within noise", "= 0.008 over datasets: within noise, the interval includes 0."),
        (MIXED, 0.002, "unclear", "= 0.641 over datasets: unclear, not consistently over datasets."),
        (MIXED, 0.2, "within noise", "= 0.641 over datasets: within noise, the interval includes 0."),
    ],
    ids=["both", "both, the other way", "datasets alone", "mean alone", "neither"],
)
def test_a_difference_is_called_only_beyond_both_tests(inputs, gains, spread, verdict, end):
    comparison = compare_all(_make(inputs, gains, spread), "acc")["shared"]
    text = _says(comparison)
    assert comparison.verdict == verdict
    assert comparison.called == (verdict in ("lower", "higher"))
    assert ("beats" in text) == (verdict == "lower")
    assert ("loses to" in text) == (verdict == "higher")
    assert ("within noise" in text) == (verdict == "within noise")
    assert ("unclear" in text) == (verdict == "unclear")
    assert text.endswith(end)


def test_with_one_training_each_nothing_is_called_however_clear(inputs):
    results = _make(inputs, CLEAR, 0, others=("shared", "third"), seeds=(42,))
    for metric in ("acc", "auc"):
        for comparison in compare_all(results, metric).values():
            assert (comparison.verdict, comparison.interval) == ("one training each", None)
            assert not comparison.called
            assert not comparison.no_worse
            assert _says(comparison).endswith("higher on 8 of 8 datasets: one training each.")
        assert all(np.isnan(each.p) and each.interval is None for each in on_every_dataset(results, metric).values())
    text = answer(results)
    assert text[0] == (
        "Hard routing (mosaic) against one shared adapter (shared), one training each: 2.8 points ahead in ACC and 2.8 "
        "points ahead in AUC."
    )
    assert text[1].startswith("One training each (seed 42) says nothing about methods, so no difference is called one")
    assert lead(results) == text[:2]
    assert text[2].replace("\N{MINUS SIGN}", "-") == (
        "In ACC, of 2 other variants none ended above mosaic and 2 below (-2.8 points)."
    )
    assert len(text) == 4


def test_a_mean_that_one_dataset_makes_is_not_called_against_what_the_others_say(inputs):
    # A little worse on all but one, and much better there: the mean and most datasets point in opposite directions.
    gains = [-0.25, *[0.003 + 0.0001 * place for place in range(7)]]
    comparison = compare_all(_make(inputs, gains, 0.0005), "acc")["shared"]
    assert comparison.difference > 0
    assert comparison.direction == -1
    seventeen = [-0.25, *[0.003 + 0.0001 * place for place in range(17)]]
    names = (*EIGHT, "organcmnist", "organsmnist", "pneumoniamnist", "retinamnist", "organmnist3d", "nodulemnist3d")
    names += ("adrenalmnist3d", "fracturemnist3d", "vesselmnist3d", "synapsemnist3d")
    comparison = compare_all(_make(inputs_like(inputs), seventeen, 0.0005, datasets=names), "acc")["shared"]
    assert comparison.difference > 0
    assert comparison.rank_p < 0.01
    assert comparison.p < 0.01
    assert comparison.verdict == "unclear"
    assert _says(comparison).endswith("unclear, the ranks over datasets point the other way.")


def test_trainings_that_never_vary_give_no_interval(inputs):
    results = _make(inputs, CLEAR, 0)
    comparison = compare_all(results, "acc")["shared"]
    assert (comparison.interval, comparison.verdict) == (None, "unclear")
    assert _says(comparison).endswith("unclear, without an interval.")
    assert "(no interval), but without an interval" in answer(results)[0]
    assert on_dataset(results, "shared", "mosaic", "acc", "breastmnist").interval is None


def test_the_sentence_gives_size_interval_count_and_both_p(inputs):
    comparison = compare_all(_make(inputs, CLEAR, 0.002), "acc")["shared"]
    assert _says(comparison) == (
        "mosaic beats shared by 2.8 points ACC (95 % CI 2.3 to 3.3), higher on 8 of 8 datasets, planned, adjusted "
        "p = 0.002 for the mean and = 0.008 over datasets."
    )
    comparison = compare_all(_make(inputs_like(inputs), [-gain for gain in CLEAR], 0.002), "auc")["shared"]
    assert _says(comparison).startswith(
        "mosaic loses to shared by 2.8 points AUC (95 % CI 2.3 to 3.3), lower on 8 of 8 datasets"
    )


def test_a_direction_in_words_has_a_positive_size_and_ties_are_counted(inputs):
    behind = [0.098, 0, -0.05, -0.05, -0.05, -0.05, -0.05, -0.05]
    assert _says(compare_all(_make(inputs, behind, 0.002), "acc")["shared"]).startswith(
        "mosaic is behind shared by 2.5 points ACC (95 % CI 2.0 to 3.0), higher on 1, lower on 6, level on 1 of 8 "
        "datasets, "
    )
    assert _says(compare_all(_make(inputs_like(inputs), [0.02, -0.01] * 4, 0.1), "acc")["shared"]).startswith(
        "mosaic is ahead of shared by 0.5 points ACC (95 % CI -24.3 to 25.3), higher on 4 of 8 datasets, "
    )


def inputs_like(inputs):
    """The same kind of inputs, written beside the first ones."""
    return type(inputs)(inputs.root / "other")


def test_equal_counts_are_ties_for_the_ranks_whatever_their_last_bits(inputs):
    # 0.1 + 0.2 is not 0.3: shares of right answers that are equal as counts are equal sizes, and share a rank.
    results = _make(inputs, [1 / 96] * 4 + [-1 / 96] * 4, 0)
    for place, dataset in enumerate(EIGHT):
        for seed in SEEDS:
            base = (30 + place) / 96
            inputs.metrics["mosaic", seed, dataset] = {"acc": base, "auc": 0.7}
            other = base + (1 / 96 if place < 5 else -1 / 96)
            inputs.metrics["shared", seed, dataset] = {"acc": other, "auc": 0.7}
    inputs.root = inputs.root / "again"
    results = _load(inputs)
    # Five up and three down of one size: the ranks are all 4.5, of 256 signs 219 are at most this far from even.
    assert compare_all(results, "acc")["shared"].rank_p == pytest.approx(186 / 256)


def test_with_five_datasets_no_difference_is_called_however_clear(inputs):
    results = _make(inputs, CLEAR[:5], 0.001, datasets=EIGHT[:5])
    comparison = compare_all(results, "acc")["shared"]
    assert comparison.verdict == "too few differ"
    assert "beats" not in _says(comparison)
    assert answer(results)[1] == (
        "No difference can be called in ACC: with 5 differing datasets and 1 comparison the adjusted p of the "
        "signed-rank test cannot be less than 0.062, even if all of them agreed."
    )


@pytest.mark.parametrize(("differing", "others", "least"), [(6, "a", 2 / 64), (5, "a", 2 / 32), (6, "ab", 4 / 64)])
def test_what_can_be_called_depends_on_the_datasets_that_differ_and_on_the_comparisons(
    inputs, differing, others, least
):
    gains = CLEAR[:differing] + [0] * (8 - differing)
    results = _make(inputs, gains, 0.0, others=tuple(others))
    for comparison in compare_all(results, "acc").values():
        assert (comparison.differing, comparison.least_p) == (differing, pytest.approx(least))
        assert (comparison.verdict == "too few differ") == (least > 0.05)


def test_a_comparison_that_could_not_be_called_says_so_beside_one_that_is(inputs):
    _make(inputs, CLEAR, 0.0005, others=("weak", "alike"))
    for seed in SEEDS:
        for dataset in EIGHT[5:]:
            inputs.metrics["alike", seed, dataset] = {"acc": 0.7, "auc": 0.7}
    inputs.root = inputs.root / "again"
    results = _load(inputs)
    text = _says(compare_all(results, "acc")["alike"])
    assert "level on 3 of 8 datasets; with 5 differing datasets it cannot be called a difference" in text
    assert text.endswith("even if all of them agreed, the adjusted p over datasets would be 0.062.")
    assert answer(results)[1].endswith(
        "beats 1 of 2: weak; loses to none; differs on too few datasets from 1 of 2: alike (1.5 points ahead)."
    )


def test_p_is_adjusted_over_the_variants_with_the_planned_one_first(inputs):
    alone = compare_all(_make(inputs, CLEAR, 0.02), "acc")["shared"]
    three = _make(inputs_like(inputs), CLEAR, 0.02, others=("shared", "b", "c"))
    assert planned(three) == "shared"
    found = compare_all(three, "acc")
    assert found["shared"].planned
    assert not found["b"].planned
    assert found["shared"].p == pytest.approx(2 * alone.p)
    assert found["b"].p == found["c"].p == pytest.approx(2 * alone.p)  # two explored ones, if the planned one is called
    assert found["b"].rank_p == pytest.approx(2 * alone.rank_p)  # the planned one is called, and leaves its half


def test_the_answer_names_what_is_beaten_what_wins_and_what_is_noise(inputs):
    _make(inputs, CLEAR, 0.0001, others=("weak", "strong", "equal", "mixed"))
    for place, seed in enumerate(SEEDS):
        for dataset, gain, mixed in zip(EIGHT, CLEAR, MIXED, strict=True):
            for variant, value, spread in (
                ("strong", 0.7 + gain, 0.0001),
                ("equal", 0.7 + gain, 0.2),
                ("mixed", 0.7 - mixed, 0.0001),
            ):
                value += spread * (place - 1)
                inputs.metrics[variant, seed, dataset] = {"acc": value, "auc": value}
    inputs.root = inputs.root / "again"
    results = _load(inputs)
    assert answer(results)[1] == (
        "In ACC, mosaic beats 1 of 4: weak; loses to 1 of 4: strong; is unclear against 1 of 4: mixed (2.6 points "
        "ahead); is within noise of 1 of 4: equal (2.8 points behind)."
    )
    assert [name for name, _ in comparison_sentences(results)] == ["weak", "strong", "equal", "mixed"]


def test_against_a_single_variant_the_answer_is_its_verdict_alone(inputs):
    assert answer(_make(inputs, CLEAR, 0.002))[1] == "In ACC, mosaic beats shared."
    level = answer(_make(inputs_like(inputs), [0.03, -0.03] * 4, 0.002))[1]
    assert level == "In ACC, mosaic is within noise of shared (level)."


@pytest.mark.parametrize(
    ("acc", "auc", "said"),
    [
        (
            CLEAR,
            CLEAR,
            "Hard routing (mosaic) beats one shared adapter (shared) in ACC and AUC: in ACC it is ahead by 2.8 ",
        ),
        (
            CLEAR,
            MIXED,
            "Hard routing (mosaic) beats one shared adapter (shared) in ACC: in ACC it is ahead by 2.8 points ",
        ),
        (
            [-gain for gain in CLEAR],
            MIXED,
            "Hard routing (mosaic) loses to one shared adapter (shared) in ACC: in ACC it is behind by 2.8 points "
            "(95 % CI 2.3 to 3.3), lower on 8 of 8 datasets; in AUC it is ahead by 2.6 points (95 % CI 2.1 to "
            "3.1), but not consistently over datasets.",
        ),
        (
            MIXED,
            [0.0304, -0.03] * 4,
            "No evidence that hard routing (mosaic) beats one shared adapter (shared): in ACC it is ahead by 2.6 "
            "points (95 % CI 2.1 to 3.1), but not consistently over datasets; in AUC it is level (95 % CI "
            "-0.5 to 0.5), within noise.",
        ),
        (
            [0.032, *CLEAR[1:5], 0, 0, 0],
            CLEAR,
            "Hard routing (mosaic) beats one shared adapter (shared) in AUC: in ACC it is ahead by 1.5 points (95 % CI "
            "1.5 to 1.5), on too few differing datasets to tell; ",
        ),
    ],
)
def test_the_report_begins_with_the_answer_to_the_main_question(inputs, acc, auc, said):
    few = acc.count(0)
    _make(inputs, acc, 0.002 if not few else 0.0)
    for place, seed in enumerate(SEEDS):
        for dataset, gain in zip(EIGHT, auc, strict=True):
            inputs.metrics["shared", seed, dataset]["auc"] = 0.7 - gain + 0.002 * (place - 1)
            if few and dataset == EIGHT[0]:
                inputs.metrics["shared", seed, dataset]["acc"] += 1e-5 * (place - 1)
    inputs.root = inputs.root / "again"
    text = answer(_load(inputs))[0].replace("\u00a0", " ").replace("\N{MINUS SIGN}", "-")
    assert text.startswith(said)
    assert not said.endswith(".") or text == said


def test_without_one_shared_adapter_of_the_same_kind_the_main_question_is_not_answered(inputs):
    # Routings by place: specialists, shared, none.
    results = _make(inputs, CLEAR, 0.01, others=("shared", "third"))
    assert "shared adapter" in answer(results)[0]
    for variants in (("mosaic", "third"), ("shared", "mosaic")):
        assert not any("shared adapter" in text for text in answer(replace(results, variants=variants)))
    for variant, other in (("shared", {"kind": "lora"}), ("mosaic", {"name": "random"})):
        config = results.configs[variant]
        changed = config.model_copy(update={"routing": config.routing.model_copy(update=other)})
        elsewise = replace(results, configs=results.configs | {variant: changed})
        assert not any("shared adapter" in text for text in answer(elsewise))


def test_a_variant_alone_is_compared_with_nothing(inputs):
    inputs.variants = ("mosaic",)
    assert answer(_load(inputs)) == ["Only mosaic was run: there is nothing to compare it with."]


def test_a_dataset_undefined_for_one_variant_takes_part_in_no_comparison(inputs):
    _make(inputs, CLEAR, 0.01, others=("shared", "third"))
    inputs.metrics["third", 2, "octmnist"]["auc"] = None
    inputs.root = inputs.root / "again"
    results = _load(inputs)
    assert compare_all(results, "auc")["shared"].datasets == 7
    assert compare_all(results, "acc")["shared"].datasets == 8


def test_no_worse_needs_the_whole_interval_within_the_margin(inputs):
    # Half a point behind: with trainings that agree it is within a point, with others it might not be.
    for place, (spread, shown) in enumerate(((0.001, True), (0.004, False))):
        made = type(inputs)(inputs.root / str(place))
        results = replace(_make(made, [-0.005] * 8, spread), margin=0.01)
        comparison = compare_all(results, "acc")["shared"]
        assert comparison.no_worse == shown
        assert (comparison.interval[1] < 0.01) == shown
        text = no_worse(results)[0]
        assert ("is shown to be worse by less than that, if at all, than shared" in text) == shown
        assert "by a margin of 1.0 points" in text
        assert no_worse(replace(results, margin=None)) == []


def test_a_star_of_a_single_dataset_is_adjusted_over_all_cells(inputs):
    results = _make(inputs, CLEAR, 0.0001, others=("shared", "third"))
    cells = on_every_dataset(results, "auc")
    alone = {place: on_dataset(results, place[0], "mosaic", "auc", place[1]) for place in cells}
    least = min(alone, key=lambda place: alone[place].p)
    assert len(cells) == 2 * 8
    assert cells[least].p == pytest.approx(16 * alone[least].p)
    assert cells[least].interval == alone[least].interval


@pytest.mark.parametrize(("fewer", "p"), [(2, 0.5), (8, 2 / 2**8)])
def test_accuracy_on_one_dataset_differs_only_if_enough_cases_do(inputs, fewer, p):
    """Trainings that agree to the case leave nothing for the interval to see; the sign test counts the cases."""
    inputs.test = 40
    _make(inputs, [fewer / 40] * 8, 0)
    right = (np.arange(40) < 28).astype(float)
    for seed in SEEDS:
        for variant, lost in (("mosaic", 0), ("shared", fewer)):
            rows = right - (np.arange(40) < lost)
            inputs.contributions[variant, seed, EIGHT[0]] = np.stack([rows, rows], axis=1)
    inputs.root = inputs.root / "again"
    results = _load(inputs)
    assert on_dataset(results, "shared", "mosaic", "acc", EIGHT[0]).p == pytest.approx(p)
    assert on_dataset(results, "shared", "mosaic", "auc", EIGHT[0]).p < p
