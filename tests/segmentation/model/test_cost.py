import pytest
import torch
from nets import FULL, make_config

from mosaic_pipeline.segmentation.description import as_table, describe
from mosaic_pipeline.segmentation.model.cost import slice_costs, slice_macs, step_flops
from mosaic_pipeline.segmentation.model.m4oe import M4oE


def on_meta(**kwargs) -> M4oE:
    with torch.device("meta"):
        return M4oE(make_config(**kwargs))


def test_the_full_model_takes_what_was_counted_for_it_by_hand_and_soft_twice_that():
    description = describe(make_config(experts={"mix": "gated"}, **FULL), "m4oe")
    assert description["total"] == 58_486_830
    assert {phase: round(macs / 1e9, 2) for phase, macs in description["macs_per_slice"].items()} == {
        "experts": 6.13,
        "gate": 12.61,
    }
    assert description["trained_by_a_batch"]["experts"]["flare22"] == 27_169_380
    assert description["trained_by_a_batch"]["gate"]["flare22"] == 58_486_830 - (3 + 16) * 96
    table = as_table(description)
    assert "  gates                    12,714    0.02%" in table
    assert "  total                58,486,830  100.00%" in table
    assert "  one expert: 6.13 GMAC a slice" in table
    assert "a batch trains 27,168,324 to 27,169,572 parameters" in table


@pytest.mark.parametrize("experts", [{}, {"routing": "shared"}, {"routing": "single"}, {"added": 1}])
def test_without_a_gate_a_slice_goes_through_a_plain_network_whatever_else_there_is(experts):
    costs = slice_costs(make_config(experts=experts, **FULL))
    assert costs == {"active": {"experts": 27_169_380}, "macs": {"experts": pytest.approx(6.13e9, rel=1e-3)}}


@pytest.mark.parametrize("gate_trains", ["all", "gates_heads_norms"])
def test_with_a_gate_a_slice_goes_through_all_experts_whether_they_train_or_not(gate_trains):
    costs = slice_costs(make_config(experts={"mix": "gated", "gate_trains": gate_trains}, **FULL))
    assert costs["active"] == {"experts": 27_169_380, "gate": 58_486_830 - (3 + 16) * 96}
    assert costs["macs"] == {"experts": pytest.approx(6.13e9, rel=1e-3), "gate": pytest.approx(12.61e9, rel=1e-3)}
    assert list(costs["macs"]) == ["experts", "gate"]  # the last one is deployed


def test_what_no_round_trains_is_no_cost():
    gated = {"experts": {"mix": "gated"}}
    assert slice_costs(make_config(**gated, train={"expert_rounds": 0}))["macs"].keys() == {"gate"}
    assert slice_costs(make_config(**gated, train={"gate_rounds": 0}))["macs"].keys() == {"experts"}


def test_an_expert_that_joins_costs_its_own_step_and_no_trunk_s():
    config = make_config(experts={"added": 1})
    description = describe(config, "new_modality")
    trained = description["trained_by_a_batch"]
    assert {phase: list(sets) for phase, sets in trained.items()} == {
        "experts": ["flare22", "atlas23"],
        "adapt": ["amos22_mr"],
    }
    assert trained["adapt"]["amos22_mr"] == description["components"]["experts"]["amos22_mr"] + 16 * 8
    assert description["flops_per_step"]["adapt"] < description["flops_per_step"]["experts"]
    assert "  an expert that joins: " in as_table(description)


def test_products_of_a_small_model_by_hand():
    # One block a stage of one window each, 4 x 4 and 2 x 2 tokens of 8 and 16 channels.
    config = {"size": 16, "depths": (1, 1), "heads": (1, 1), "window": 4}
    model = on_meta(datasets=("atlas23",), experts={"routing": "shared"}, **config)

    def block(tokens: int, dim: int) -> int:
        return tokens * dim * (3 * dim + dim + 2 * 4 * dim) + 2 * tokens * tokens * dim

    expected = 16 * 16 * 8 + block(16, 8) + 4 * 32 * 16 + block(4, 16)
    expected += 4 * 16 * 32 + 16 * 16 * 8 + block(16, 8) + 16 * 8 * 128 + 256 * 8 * 3
    assert slice_macs(model, "atlas23", "experts") == expected
    # Backward takes two products for each one of the pass, but for the images, of which nobody asks the gradient.
    assert step_flops(model, "atlas23", "experts", 2) == 2 * 2 * (3 * expected - 16 * 16 * 8)


@pytest.mark.parametrize("experts", [{"routing": "single"}, {"routing": "shared"}, {"head": "union"}])
def test_variants_without_gates_are_described_without_a_gated_phase(experts):
    description = describe(make_config(experts=experts), "variant")
    assert list(description["macs_per_slice"]) == ["experts"]
    components = dict(description["components"])
    assert description["total"] == sum(components.pop("experts").values()) + sum(components.values())
    assert "gated" not in as_table(description)
