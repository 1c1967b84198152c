from dataclasses import replace

import markupsafe
import pytest

from mosaic_pipeline.datasets import MOSAIC_ROUTING
from mosaic_pipeline.model.routing import build_routing
from mosaic_pipeline.reporting.ablation import render_markdown
from mosaic_pipeline.reporting.about import METHOD, describe_run
from mosaic_pipeline.reporting.page import render_page
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sections import setup
from mosaic_pipeline.reporting.sections.headline import SHOWN
from mosaic_pipeline.reporting.sections.variants import variants_table
from mosaic_pipeline.reporting.sentences import limits
from mosaic_pipeline.reporting.table import escape


@pytest.fixture
def load(make_inputs):
    """Write inputs with these changes and read them."""
    return lambda reasons=None, **changes: _load(replace(make_inputs(), **changes), reasons or {})


def _load(inputs, reasons):
    return load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.write(), reasons=reasons)


def test_the_run_is_told_in_one_sentence(load):
    sentence = describe_run(load())
    assert sentence.startswith(
        "Here it is vit_tiny_patch16_224 with random weights (not pretrained), frozen; 3 variants"
    )
    assert "3 datasets (64 training, 16 validation and 24 test images each)" in sentence
    assert sentence.endswith("seed 42.")
    assert describe_run(load(seeds=(1, 2, 3))).endswith("seeds 1, 2 and 3.")


def test_pretrained_weights_are_named_by_their_file(load):
    results = load(weights="B_16.npz")
    assert "weights from B_16.npz" in describe_run(results)
    assert "not pretrained" not in dict(setup.facts(results, "abc"))["Backbone"]


def test_variants_that_were_not_run_are_named_below_the_table_of_those_that_were(load):
    run = {"mosaic": "why", "shared": "why", "linear_probe": "why"}
    assert len(variants_table(load(run)).notes) == 1
    _, note = variants_table(load(run | {"mosaic_plus": "why", "gated": "why"})).notes
    assert note == "Defined in params.yaml and not run here: mosaic_plus and gated."


@pytest.fixture
def drawing(load, params):
    """Results of which the second variant draws its groups at random."""

    def make(datasets, seeds):
        results = load(variants=("mosaic", "shared"), datasets=datasets, seeds=seeds)
        adapter = params.adapter.model_copy(update={"routing": "random"})
        forms, groups = (
            results.configs["mosaic"].datasets,
            {name: MOSAIC_ROUTING[name] for name in MOSAIC_ROUTING if name in datasets},
        )
        config = results.configs["mosaic"].model_copy(update={"routing": build_routing(adapter, forms, groups)})
        return replace(results, configs=results.configs | {"shared": config})

    return make


def test_partitions_that_seeds_draw_are_counted_and_told_by_what_moved(drawing):
    datasets = ("retinamnist", "dermamnist", "breastmnist", "adrenalmnist3d")
    results = drawing(datasets, (1, 2, 3))
    # Either 2D dataset of A changes places with the one of B: two partitions for three seeds.
    moved = [
        "RetinaMNIST" if results.routed("shared", seed)["retinamnist"] == "B" else "DermaMNIST" for seed in (1, 2, 3)
    ]
    assert moved == ["RetinaMNIST", "DermaMNIST", "RetinaMNIST"]
    assert setup.regrouped(results) == [
        "shared drew 2 partitions with 3 seeds. "
        "Seeds 1 and 3, the same: 2 of 4 datasets grouped anew, BreastMNIST in A; RetinaMNIST in B. "
        "Seed 2: 2 of 4 datasets grouped anew, BreastMNIST in A; DermaMNIST in B."
    ]
    assert setup.regrouped(results)[0] in render_page(results, "abc")


def test_with_one_seed_random_groups_are_said_to_be_one_partition(drawing):
    (told,) = setup.regrouped(drawing(("retinamnist", "breastmnist", "adrenalmnist3d"), (42,)))
    assert told == (
        "shared drew 1 partition with 1 seed. "
        "Seed 42: 2 of 3 datasets grouped anew, BreastMNIST in A; RetinaMNIST in B."
    )


def test_groups_drawn_where_there_are_no_others_are_said_to_be_mosaics(drawing):
    (told,) = setup.regrouped(drawing(("retinamnist", "dermamnist", "adrenalmnist3d"), (1, 2)))
    assert told == (
        "shared drew 1 partition with 2 seeds. "
        "Seeds 1 and 2, the same: the groups that MOSAIC has, and the same training again."
    )


def test_variants_that_draw_nothing_are_not_said_to_group_anew(load):
    assert setup.regrouped(load()) == []


def test_random_weights_are_a_limit_and_pretrained_ones_are_none(load):
    assert any("weights are random" in sentence for sentence in limits(load()))
    assert not any("weights are random" in sentence for sentence in limits(load(weights="B_16.npz")))


def test_page_and_short_form_say_early_what_was_trained(load):
    results = load()
    assert describe_run(results) in render_page(results, "abc").partition('<section id="variants">')[0]
    assert str(markupsafe.escape(METHOD)) in render_page(results, "abc")
    assert escape(describe_run(results)) in render_markdown(results, "abc")


@pytest.mark.parametrize(("more", "said"), [(0, None), (1, "1 more comparison in words"), (2, "2 more comparisons in")])
def test_comparisons_beyond_the_first_ones_fold(load, more, said):
    variants = tuple(f"variant_{number}" for number in range(1 + SHOWN + more))
    page = render_page(load(variants=variants), "abc")
    assert ("in words</summary>" in page) == (said is not None)
    assert said is None or said in page
