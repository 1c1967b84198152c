"""When a difference between variants is called one, and the words for it."""

import math

import numpy as np
import pytest

from pipeline.reporting.comparisons import bootstrap_p, can_be_called, compare_all, on_dataset
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


def test_the_same_resamples_give_an_interval_of_no_width_at_zero(inputs):
    rows = np.random.default_rng(0).random((300, 2))
    inputs.replicates = {
        (variant, 42, dataset): rows for variant in ("mosaic", "shared") for dataset in inputs.datasets
    }
    inputs.variants = ("mosaic", "shared")
    results = _load(inputs)
    assert compare_all(results, "acc")["shared"].interval == (0.0, 0.0)
    difference = on_dataset(results, "shared", "mosaic", "acc", "breastmnist")
    assert difference.interval == (0.0, 0.0)
    assert not difference.marked


CLEAR = [0.03, 0.02, 0.04, 0.01, 0.02, 0.03, 0.05, 0.02]
MIXED = [0.2, -0.01, 0.02, -0.03, 0.04, -0.02, 0.01, -0.005]


@pytest.mark.parametrize(
    ("gains", "spread", "verdict", "reason"),
    [
        (CLEAR, 0.01, "lower", ""),
        ([-gain for gain in CLEAR], 0.01, "higher", ""),
        (CLEAR, 0.2, "within noise", "because the interval includes 0."),
        (MIXED, 0.001, "within noise", "because p is not below 0.05."),
        (MIXED, 0.2, "within noise", "because the interval includes 0 and p is not below 0.05."),
    ],
    ids=["both", "both, the other way", "p alone", "interval alone", "neither"],
)
def test_a_difference_is_called_only_beyond_both_tests(inputs, gains, spread, verdict, reason):
    comparison = compare_all(_make(inputs, gains, spread), "acc")["shared"]
    text = _says(comparison)
    assert comparison.verdict == verdict
    assert ("beats" in text) == (verdict == "lower")
    assert ("loses to" in text) == (verdict == "higher")
    assert ("within noise" in text) == (verdict == "within noise")
    assert text.endswith(reason or "Holm-adjusted p = 0.008.")


def test_the_sentence_gives_size_interval_count_and_p(inputs):
    comparison = compare_all(_make(inputs, CLEAR, 0.01), "acc")["shared"]
    assert _says(comparison) == (
        "mosaic beats shared by 2.8 points ACC (95 % CI 1.8 to 3.7), higher on 8 of 8 datasets, "
        "Holm-adjusted p = 0.008."
    )
    comparison = compare_all(_make(inputs_like(inputs), [-gain for gain in CLEAR], 0.01), "auc")["shared"]
    assert _says(comparison).startswith(
        "mosaic loses to shared by 2.8 points AUC (95 % CI -3.7 to -1.8), lower on 8 of 8 datasets"
    )


def inputs_like(inputs):
    """The same kind of inputs, written beside the first ones."""
    return type(inputs)(inputs.root / "other")


def test_with_five_datasets_no_difference_is_called_however_clear(inputs):
    results = _make(inputs, CLEAR[:5], 0.001, datasets=EIGHT[:5])
    comparison = compare_all(results, "acc")["shared"]
    assert comparison.verdict == "too few datasets"
    assert "beats" not in _says(comparison)
    assert answer(results)[0].startswith("No difference can be called in ACC: with 5 datasets and 1 comparison ")


def test_more_comparisons_need_more_datasets():
    assert can_be_called(6, 1)
    assert not can_be_called(5, 1)
    assert not can_be_called(6, 2)
    assert can_be_called(18, 18)


def test_p_is_adjusted_over_the_other_variants(inputs):
    alone = compare_all(_make(inputs, CLEAR, 0.01), "acc")["shared"].p
    three = compare_all(_make(inputs_like(inputs), CLEAR, 0.01, others=("a", "b", "c")), "acc")
    assert {name: comparison.p for name, comparison in three.items()} == pytest.approx(dict.fromkeys("abc", 3 * alone))


def test_the_answer_names_what_is_beaten_what_wins_and_what_is_noise(inputs):
    results = _make(inputs, CLEAR, 0.01, others=("weak", "strong", "equal"))
    for dataset, gain in zip(EIGHT, CLEAR, strict=True):
        for variant, value in (("strong", 0.7 + gain), ("equal", 0.7)):
            inputs.metrics[variant, 42, dataset] = {"acc": value, "auc": value}
            inputs.replicates[variant, 42, dataset] = np.full((201, 2), value)
    inputs.root = inputs.root / "again"
    results = _load(inputs)
    assert answer(results)[0] == (
        "In ACC, mosaic beats 1 of 3: weak; loses to 1 of 3: strong; is within noise of 1 of 3: equal."
    )
    assert [name for name, _ in comparison_sentences(results)] == ["weak", "strong", "equal"]


def test_against_a_single_variant_the_answer_is_its_verdict_alone(inputs):
    assert answer(_make(inputs, CLEAR, 0.01))[0] == "In ACC, mosaic beats shared."
    assert answer(_make(inputs_like(inputs), [0.0] * 8, 0.01))[0] == "In ACC, mosaic is within noise of shared."


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
    assert bootstrap_p(np.zeros(99)) == 1
    assert math.isnan(bootstrap_p(np.full(9, np.nan)))
