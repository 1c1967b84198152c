"""What experts of several trainings are, where all seeds have the same ones and where each dealt out its own."""

import pytest

from mosaic_pipeline.segmentation.datasets import LabelledSet
from mosaic_pipeline.segmentation.reporting.results import load_results
from mosaic_pipeline.segmentation.reporting.sections.experts import build

SEEDS = (1, 2, 6)  # of which the last one deals out experts in another way


@pytest.fixture
def of_seeds(inputs, monkeypatch):
    """Load a report of one analysed variant with three sets, whose own experts are at 0.6 and alike by the seed."""

    def load(variant):
        inputs.variants, inputs.seeds, inputs.analysed = ("m4oe", variant), SEEDS, (variant,)
        inputs.cases, inputs.pictures = 1, False
        inputs.sets |= {"three": LabelledSet("three", "Set three", "mri", {1: "liver"})}
        written = inputs.analysis

        def analysis(variant, seed, config):
            tree, size = written(variant, seed, config), len(config.experts.names)
            cka = [[1.0 if a == b else seed / 10 for a in range(size)] for b in range(size)]
            tree["similarity"] = {"experts": list(config.experts.names), "layers": ["encoder.0.0"], "cka": [cka]}
            return tree | {"gates": None, "maps": None, "conflicts": None}

        monkeypatch.setattr(inputs, "analysis", analysis)
        return load_results(inputs.variants, SEEDS, inputs.write(), analysed=(variant,))

    return load


def texts(found):
    return [[cell.text for cell in cells] for _, cells in found.rows]


def test_experts_that_each_seed_dealt_out_anew_are_shown_of_the_first_one_and_said_to_be(of_seeds):
    results = of_seeds("random_experts")
    own = results.configs["random_experts"].experts.of
    assert len({tuple(results.runs["random_experts", seed].training.config.experts.of.items()) for seed in SEEDS}) == 2
    ((_, sentence, (swapped, alike)),) = build(results)["parts"]
    for name, (_, cells) in zip(results.datasets, swapped.rows, strict=True):
        expected = [("60.0" if own[name] == expert else "10.0", own[name] == expert) for expert in swapped.header]
        assert [(cell.text, cell.own) for cell in cells] == expected
    assert texts(alike)[0] == ["1.00", ".10"]
    assert "is the best one on 3 of 3 sets" in sentence
    for said in (sentence, swapped.caption, alike.caption):
        assert said.endswith(" Of seed 1 alone: each seed dealt out experts anew, so they have no mean over seeds.")
    assert "Seed 1, up to 16" in swapped.caption


def test_experts_that_all_seeds_share_are_averaged_over_them(of_seeds):
    ((_, sentence, (swapped, alike)),) = build(of_seeds("hard"))["parts"]
    assert texts(alike)[0] == ["1.00", ".30"]
    assert "Mean over seeds 1, 2, 6, up to 16" in swapped.caption
    assert not any("alone:" in said for said in (sentence, swapped.caption, alike.caption))
