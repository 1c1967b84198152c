"""When a difference between variants is called one, and the words for it."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.reporting.comparisons import bootstrap_p, compare_all, on_dataset
from pipeline.reporting.results import load_results
from pipeline.reporting.sentences import answer, comparison_sentence, comparison_sentences

EIGHT = ("pathmnist", "bloodmnist", "dermamnist", "octmnist", "organamnist", "breastmnist", "chestmnist", "tissuemnist")
SHAKE = np.linspace(-1, 1, 201)


def _load(inputs):
    inputs.write()
    return load_results(inputs.variants, inputs.seeds, root=inputs.root)


def _make(inputs, gains, spread, others=("shared",), datasets=EIGHT):
    """Main variant at 0.7; others lower by `gains` (by dataset), their paired difference resampled by +-`spread`."""
    inputs.variants, inputs.datasets = ("mosaic", *others), datasets
    for seed in inputs.seeds:
        for dataset, gain in zip(datasets, gains, strict=True):
            for variant in inputs.variants:
                value = 0.7 if variant == "mosaic" else 0.7 - gain
                shake = 0 if variant == "mosaic" else spread * SHAKE
                inputs.metrics[variant, seed, dataset] = {"acc": value, "auc": value}
                rows = np.broadcast_to(np.array(value + shake), SHAKE.shape)
                inputs.replicates[variant, seed, dataset] = np.stack([rows, rows], axis=1)
    return _load(inputs)


def _says(comparison):
    return comparison_sentence(comparison).replace("\u00a0", " ").replace("\N{MINUS SIGN}", "-")


def test_a_difference_is_the_other_minus_the_main_one_and_counts_datasets(inputs):
    results = _make(inputs, [0.1, 0, -0.05, -0.05, -0.05, -0.05, -0.05, -0.05], 0.01)
    comparison = compare_all(results, "acc")["shared"]
    assert comparison.difference == pytest.approx(0.025)
    assert (comparison.wins, comparison.losses, comparison.datasets) == (1, 6, 8)
    assert comparison.interval == pytest.approx((0.025 - 0.0095, 0.025 + 0.0095))


def test_the_same_resamples_give_no_interval(inputs):
    rows = np.random.default_rng(0).random((300, 2))
    inputs.replicates = {
        (variant, 42, dataset): rows for variant in ("mosaic", "shared") for dataset in inputs.datasets
    }
    inputs.variants = ("mosaic", "shared")
    results = _load(inputs)
    comparison = compare_all(results, "acc")["shared"]
    assert comparison.interval is None
    assert "(no interval)" in _says(comparison)
    assert on_dataset(results, "shared", "mosaic", "acc", "breastmnist").interval is None


def test_a_difference_that_resampling_cannot_vary_is_not_marked_and_leaves_the_mean_defined(inputs):
    # One class flips as a whole: the same gain in every resample, whatever other cases might show.
    results = _make(inputs, CLEAR, 0.01)
    dataset = EIGHT[0]
    for place, variant in enumerate(("mosaic", "shared")):
        results.runs[variant, 42].replicates[dataset][:] = 0.7 - CLEAR[0] * place
    difference = on_dataset(results, "shared", "mosaic", "acc", dataset)
    assert difference.value == pytest.approx(-CLEAR[0])
    assert difference.interval is None
    assert not difference.marked
    low, high = compare_all(results, "acc")["shared"].interval
    assert low < high < 0


CLEAR = [0.03, 0.02, 0.04, 0.01, 0.02, 0.03, 0.05, 0.02]
MIXED = [0.2, -0.01, 0.02, -0.03, 0.04, -0.02, 0.01, -0.005]


@pytest.mark.parametrize(
    ("gains", "spread", "verdict", "end"),
    [
        (CLEAR, 0.01, "lower", "Holm-adjusted p = 0.008."),
        ([-gain for gain in CLEAR], 0.01, "higher", "Holm-adjusted p = 0.008."),
        (CLEAR, 0.2, "within noise", "Holm-adjusted p = 0.008: within noise, the interval includes 0."),
        (MIXED, 0.001, "unclear", "Holm-adjusted p = 0.641: unclear, not consistent over datasets."),
        (MIXED, 0.2, "within noise", "Holm-adjusted p = 0.641: within noise, the interval includes 0."),
    ],
    ids=["both", "both, the other way", "p alone", "interval alone", "neither"],
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


def test_a_variant_without_an_interval_is_unclear_however_the_datasets_agree(inputs):
    results = _make(inputs, CLEAR, 0)
    comparison = compare_all(results, "acc")["shared"]
    assert (comparison.interval, comparison.verdict) == (None, "unclear")
    assert _says(comparison).endswith("Holm-adjusted p = 0.008: unclear, no interval.")
    assert "(no interval), unclear without one" in answer(results)[0]


def test_the_sentence_gives_size_interval_count_and_p(inputs):
    comparison = compare_all(_make(inputs, CLEAR, 0.01), "acc")["shared"]
    assert _says(comparison) == (
        "mosaic beats shared by 2.8 points ACC (95 % CI 1.8 to 3.7), higher on 8 of 8 datasets, "
        "Holm-adjusted p = 0.008."
    )
    comparison = compare_all(_make(inputs_like(inputs), [-gain for gain in CLEAR], 0.01), "auc")["shared"]
    assert _says(comparison).startswith(
        "mosaic loses to shared by 2.8 points AUC (95 % CI 1.8 to 3.7), lower on 8 of 8 datasets"
    )


def test_a_direction_in_words_has_a_positive_size_and_ties_are_counted(inputs):
    behind = [0.098, 0, -0.05, -0.05, -0.05, -0.05, -0.05, -0.05]
    assert _says(compare_all(_make(inputs, behind, 0.01), "acc")["shared"]) == (
        "mosaic is behind shared by 2.5 points ACC (95 % CI 1.6 to 3.5), higher on 1, lower on 6, level on 1 of 8 "
        "datasets, Holm-adjusted p = 0.359: unclear, not consistent over datasets."
    )
    assert _says(compare_all(_make(inputs_like(inputs), [0.02, -0.01] * 4, 0.1), "acc")["shared"]) == (
        "mosaic is ahead of shared by 0.5 points ACC (95 % CI -9.0 to 10.0), higher on 4 of 8 datasets, Holm-adjusted "
        "p = 0.281: within noise, the interval includes 0."
    )


def inputs_like(inputs):
    """The same kind of inputs, written beside the first ones."""
    return type(inputs)(inputs.root / "other")


def test_with_five_datasets_no_difference_is_called_however_clear(inputs):
    results = _make(inputs, CLEAR[:5], 0.001, datasets=EIGHT[:5])
    comparison = compare_all(results, "acc")["shared"]
    assert comparison.verdict == "too few differ"
    assert "beats" not in _says(comparison)
    assert answer(results)[1] == (
        "No difference can be called in ACC: with 5 differing datasets and 1 comparison the Holm-adjusted p of the "
        "signed-rank test cannot be less than 0.062, even if all of them agreed."
    )


@pytest.mark.parametrize(("differing", "others", "least"), [(6, "a", 2 / 64), (5, "a", 2 / 32), (6, "ab", 4 / 64)])
def test_what_can_be_called_depends_on_the_datasets_that_differ_and_on_the_comparisons(
    inputs, differing, others, least
):
    gains = CLEAR[:differing] + [0] * (8 - differing)
    for comparison in compare_all(_make(inputs, gains, 0.001, others=tuple(others)), "acc").values():
        assert (comparison.differing, comparison.least_p) == (differing, pytest.approx(least))
        assert (comparison.verdict == "too few differ") == (least > 0.05)


def test_a_comparison_that_could_not_be_called_says_so_beside_one_that_is(inputs):
    results = _make(inputs, CLEAR, 0.01, others=("weak", "alike"))
    for dataset in EIGHT[5:]:
        inputs.metrics["alike", 42, dataset] = {"acc": 0.7, "auc": 0.7}
    inputs.root = inputs.root / "again"
    results = _load(inputs)
    text = _says(compare_all(results, "acc")["alike"])
    assert "level on 3 of 8 datasets; with 5 differing datasets it cannot be called a difference" in text
    assert text.endswith("even if all of them agreed, Holm-adjusted p would be 0.062.")
    assert answer(results)[1].endswith(
        "beats 1 of 2: weak; loses to none; differs on too few datasets from 1 of 2: alike (1.5 points ahead)."
    )


def test_p_is_adjusted_over_the_other_variants(inputs):
    alone = compare_all(_make(inputs, CLEAR, 0.01), "acc")["shared"].p
    three = compare_all(_make(inputs_like(inputs), CLEAR, 0.01, others=("a", "b", "c")), "acc")
    assert {name: comparison.p for name, comparison in three.items()} == pytest.approx(dict.fromkeys("abc", 3 * alone))


def test_the_answer_names_what_is_beaten_what_wins_and_what_is_noise(inputs):
    results = _make(inputs, CLEAR, 0.01, others=("weak", "strong", "equal", "mixed"))
    for dataset, gain, mixed in zip(EIGHT, CLEAR, MIXED, strict=True):
        for variant, value, spread in (
            ("strong", 0.7 + gain, 0.01),
            ("equal", 0.7 + gain, 0.2),
            ("mixed", 0.7 - mixed, 0.001),
        ):
            inputs.metrics[variant, 42, dataset] = {"acc": value, "auc": value}
            inputs.replicates[variant, 42, dataset] = np.stack([value + spread * SHAKE] * 2, axis=1)
    inputs.root = inputs.root / "again"
    results = _load(inputs)
    assert answer(results)[1] == (
        "In ACC, mosaic beats 1 of 4: weak; loses to 1 of 4: strong; is unclear against 1 of 4: mixed (2.6 points "
        "ahead); is within noise of 1 of 4: equal (2.8 points behind)."
    )
    assert [name for name, _ in comparison_sentences(results)] == ["weak", "strong", "equal", "mixed"]


def test_against_a_single_variant_the_answer_is_its_verdict_alone(inputs):
    assert answer(_make(inputs, CLEAR, 0.01))[1] == "In ACC, mosaic beats shared."
    level = answer(_make(inputs_like(inputs), [0.03, -0.03] * 4, 0.01))[1]
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
            "(95 % CI 1.8 to 3.7), lower on 8 of 8 datasets; in AUC it is ahead by 2.6 points (95 % CI 1.6 to "
            "3.5), but not consistently over datasets.",
        ),
        (
            MIXED,
            [0.0304, -0.03] * 4,
            "No evidence that hard routing (mosaic) beats one shared adapter (shared): in ACC it is ahead by 2.6 "
            "points (95 % CI 1.6 to 3.5), but not consistently over datasets; in AUC it is level (95 % CI "
            "-0.9 to 1.0), within noise.",
        ),
        (
            [0.032, *CLEAR[1:5], 0, 0, 0],
            CLEAR,
            "Hard routing (mosaic) beats one shared adapter (shared) in AUC: in ACC it is ahead by 1.5 points (95 % CI "
            "0.6 to 2.5), on too few differing datasets to tell; ",
        ),
    ],
)
def test_the_report_begins_with_the_answer_to_the_main_question(inputs, acc, auc, said):
    _make(inputs, acc, 0.01)
    for dataset, gain in zip(EIGHT, auc, strict=True):
        inputs.metrics["shared", 42, dataset]["auc"] = 0.7 - gain
        inputs.replicates["shared", 42, dataset][:, 1] = 0.7 - gain + 0.01 * SHAKE
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
    inputs.metrics["third", 42, "octmnist"]["auc"] = None
    inputs.root = inputs.root / "again"
    results = _load(inputs)
    assert compare_all(results, "auc")["shared"].datasets == 7
    assert compare_all(results, "acc")["shared"].datasets == 8


def test_a_bootstrap_p_counts_the_smaller_tail_twice():
    rows = np.array([-0.1] * 4 + [0.1] * 95)
    assert bootstrap_p(rows) == pytest.approx(2 * 5 / 100)
    assert bootstrap_p(-rows) == bootstrap_p(rows)
    assert bootstrap_p(np.zeros(99)) == bootstrap_p(np.full(99, 0.1)) == 1
    assert math.isnan(bootstrap_p(np.full(9, np.nan)))
