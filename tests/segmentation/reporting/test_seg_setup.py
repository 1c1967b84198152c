"""What the report says of variants that are no fair comparison, made from their configurations."""

import pytest

from mosaic_pipeline.segmentation.reporting.sections.setup import unequal
from tests.segmentation.nets import make_config

GATED = {"experts": {"mix": "gated"}, "train": {"expert_rounds": 30, "gate_rounds": 1}}
HARD = {"expert_rounds": 31, "gate_rounds": 0}


def said(experts, **train):
    configs = {"m4oe": make_config(**GATED), "other": make_config(experts=experts, train=HARD | train)}
    return unequal(configs, "m4oe")


@pytest.mark.parametrize(
    ("experts", "train"),
    [
        ({}, {}),
        ({"routing": "shared"}, {}),
        ({"routing": "shared", "width": 12}, {}),
        ({"added": 1}, {}),
        ({"mix": "gated"}, {"expert_rounds": 0, "gate_rounds": 31}),
    ],
)
def test_nothing_is_said_of_variants_of_equal_length_and_size(experts, train):
    assert said(experts, **train) == []


@pytest.mark.parametrize(
    ("train", "rounds"),
    [({"expert_rounds": 4}, 4), ({"pretrain_rounds": 2, "mask_ratio": 0.75}, 33), ({"expert_rounds": 1}, 1)],
)
def test_a_variant_of_other_rounds_is_named(train, rounds):
    (line,) = said({}, **train)
    assert line.startswith(f"other trains a set for {rounds} round{'s' * (rounds > 1)}, m4oe for 31: ")


@pytest.mark.parametrize("width", [8, 16])
def test_an_mlp_that_is_neither_as_wide_as_an_expert_nor_as_all_is_named(width):
    (line,) = said({"routing": "shared", "width": width})
    assert line.startswith(
        f"The MLP of other is {width} times as wide as its input, an expert of m4oe 4 times and all "
    )
    assert "together 12 times" in line


def test_a_variant_without_a_common_mlp_has_no_width_to_compare():
    assert said({"width": 8}) == []
