import pytest

from mosaic_pipeline.reporting.ablation import render_markdown
from mosaic_pipeline.reporting.page import render_page
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sentences import limits
from mosaic_pipeline.reporting.table import NONE
from mosaic_pipeline.reporting.tuning import recipe, tuning_table

SAME = (
    "Every variant was trained with the same recipe, that of the main variant, except for the settings in which they "
    "differ; tuned on its own, a variant might rank otherwise."
)
REST = (
    "For the rest every variant was trained with the recipe of the main variant, except for the settings in which they "
    "differ."
)


def rates(*scores):
    """Candidates with a rate of 0.001, 0.003 and 0.01."""
    return [({"train.lr": rate}, score) for rate, score in zip((0.001, 0.003, 0.01), scores, strict=True)]


@pytest.fixture
def load(inputs):
    """Results of three variants, tuned as given."""

    def load(**tuning):
        inputs.tuning = tuning
        return load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.write())

    return load


def test_without_tuning_the_report_says_that_all_had_one_recipe_and_shows_no_table(load):
    results = load()
    assert recipe(results) == [SAME]
    assert limits(results)[-1] == SAME
    assert tuning_table(results) is None
    assert "Tuning" not in render_page(results, "abc123")
    assert "Tuning" not in render_markdown(results, "abc123")


def test_what_was_tuned_over_which_values_and_what_was_not_is_said(load):
    results = load(mosaic=(rates(0.5, 0.7, 0.6), 1), linear_probe=(rates(0.5, 0.6, 0.7), 2))
    assert recipe(results) == [
        "Tuned by validation score, with seed 7: mosaic and linear_probe over train.lr (0.001, 0.003, 0.01).",
        "For linear_probe the largest train.lr tried was the best: a larger one might be better still.",
        "Not tuned: shared (train.lr 0.001). Tuned as well, it might rank otherwise.",
        REST,
    ]
    assert limits(results)[-4:] == recipe(results)
    for text in (render_page(results, "abc123"), render_markdown(results, "abc123").replace("\\", "")):
        assert "linear_probe over train.lr (0.001, 0.003, 0.01)" in text


def test_of_variants_that_were_all_tuned_none_is_said_not_to_be(load):
    wide = [({"train.lr": 0.001, "adapter.kind": kind}, score) for kind, score in (("lora", 0.5), ("prompt", 0.6))]
    plain = rates(0.5, 0.6, 0.5), 1
    assert recipe(load(mosaic=plain, shared=(wide, 1), linear_probe=plain)) == [
        "Every variant was tuned by validation score, with seed 7: mosaic and linear_probe over train.lr (0.001, "
        "0.003, 0.01); shared over train.lr (0.001) and adapter.kind (lora, prompt).",
        REST,
    ]


def test_untuned_variants_are_named_by_their_own_value_and_without_one_where_the_recipe_was_not_tuned(load, inputs):
    results = load(mosaic=(rates(0.6, 0.5, 0.5), 0))
    (said,) = [sentence for sentence in recipe(results) if sentence.startswith("Not tuned")]
    assert said == "Not tuned: shared and linear_probe (train.lr 0.001). Tuned as well, they might rank otherwise."
    config = inputs.root / "configs/shared.yaml"
    config.write_text(config.read_text().replace("lr: 0.001", "lr: 0.0001"))
    results = load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root)
    assert "Not tuned: shared (train.lr 0.0001); linear_probe (train.lr 0.001)." in " ".join(recipe(results))


def test_scales_alone_leave_the_rates_of_others_unsaid(load):
    scales = [({"adapter.scale": 0.1}, 0.5), ({"adapter.scale": 1.0}, 0.6)]
    assert recipe(load(mosaic=(scales, 1)))[:3] == [
        "Tuned by validation score, with seed 7: mosaic over adapter.scale (0.1, 1).",
        "For mosaic the largest adapter.scale tried was the best: a larger one might be better still.",
        "Not tuned: shared and linear_probe. Tuned as well, they might rank otherwise.",
    ]


def test_every_value_tried_stands_in_the_table_and_the_chosen_one_is_bold(load):
    wide = [({"train.lr": 0.01, "adapter.layer_norm": True}, 0.5)]
    table = tuning_table(load(mosaic=(rates(0.5, None, 0.7), 2), shared=(wide, 0)))
    assert table.header == ["Variant", "train.lr", "adapter.layer_norm", "Score", "ACC", "AUC", "Best round"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["mosaic", "0.001", NONE, "50.0", "40.0", "60.0", "2"],
        ["mosaic", "0.003", NONE, "diverged", NONE, NONE, NONE],
        ["mosaic", "0.01", NONE, "70.0", "60.0", "80.0", "2"],
        ["shared", "0.01", "true", "50.0", "40.0", "60.0", "2"],
    ]
    assert [[cell.text for cell in row if cell.best] for row in table.rows] == [
        [],
        [],
        ["0.01", "70.0"],
        ["0.01", "true", "50.0"],
    ]
    assert table.text_columns == (2,)
    assert "with seed 7" in table.caption


def test_the_table_is_on_the_page_and_in_the_short_form(load):
    results = load(mosaic=(rates(0.5, 0.612, 0.5), 1))
    assert "61.2" in render_page(results, "abc123")
    assert "| mosaic | **0.003** | **61.2** | 51.2 | 71.2 | 2 |" in render_markdown(results, "abc123")
