import pytest
import torch
from nets import make_config

from mosaic_pipeline.model.gate import OWN_WEIGHT
from mosaic_pipeline.segmentation.model.build import build_m4oe
from mosaic_pipeline.segmentation.model.experts import ExpertMlp, ReleasedGate, Route, build_gate

NAMES = ("ct", "mri", "ce_mri")


def make_mlp(kind: str = "tokens", *, gated: bool = True, trained: bool = True) -> ExpertMlp:
    """Three experts on tokens of eight channels; with `trained` the gate is away from the zero that it starts at."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mlp = ExpertMlp(8, 16, NAMES, build_gate(8, 3, kind), Route(gated=gated))
        if trained:
            torch.nn.init.normal_(mlp.gate.linear.weight)
    return mlp


def tokens() -> torch.Tensor:
    return torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(1))


def permuted(mlp: ExpertMlp, order: list[int]) -> ExpertMlp:
    """The same experts under each other's names, and where it has one row an expert the gate's rows with them."""
    other = make_mlp("released" if isinstance(mlp.gate, ReleasedGate) else mlp.gate.looks_at)
    other.load_state_dict(mlp.state_dict())
    for to, origin in enumerate(order):
        other.experts[NAMES[to]].load_state_dict(mlp.experts[NAMES[origin]].state_dict())
    return other


@pytest.mark.parametrize("kind", ["tokens", "image"])
def test_a_gates_weights_are_positive_and_sum_to_one_for_each_token_or_image(kind):
    weights = make_mlp(kind).gate(tokens())
    assert weights.shape == (2, 9 if kind == "tokens" else 1, 3)
    assert (weights > 0).all()
    assert weights.std() > 0.01
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:2]))


@pytest.mark.parametrize("kind", ["tokens", "image"])
def test_every_gate_of_a_new_model_gives_each_of_three_experts_a_third(kind):
    model = build_m4oe(make_config(experts={"mix": "gated", "gate": kind}), seed=0)
    assert len(model.gates) == 6
    for gate in model.gates.values():
        u = torch.randn(2, 4, gate.linear.in_features)
        assert torch.equal(gate(u), torch.full((2, 4 if kind == "tokens" else 1, 3), 1 / 3))


def test_a_gate_with_a_prior_starts_at_the_datasets_own_expert_in_the_forward_pass():
    config = make_config(experts={"mix": "gated", "gate_start": "own"})
    model, seen = build_m4oe(config, seed=0), []
    for gate in model.gates.values():
        gate.register_forward_hook(lambda gate, inputs, weights: seen.append(weights))
    model(torch.randn(1, 16, 16), "atlas23")
    assert len(seen) == 6
    expected = torch.tensor([0.5 - OWN_WEIGHT / 2, OWN_WEIGHT, 0.5 - OWN_WEIGHT / 2])
    for weights in seen:
        torch.testing.assert_close(weights, expected.expand_as(weights))


@pytest.mark.parametrize("index", range(3))
def test_weights_of_one_and_zeros_are_that_expert_to_the_bit(index):
    mlp, u = make_mlp(), tokens()
    alone = mlp.experts[NAMES[index]](u)
    assert torch.equal(mlp.mixed(u, torch.eye(3)[index].expand(2, 9, 3)), alone)
    assert torch.equal(mlp.mixed(u, torch.eye(3)[index].expand(2, 1, 3)), alone)
    assert torch.equal(mlp.hard(u, index), alone)


@pytest.mark.parametrize("kind", ["tokens", "image"])
def test_a_mixture_is_the_sum_over_the_gates_weights(kind):
    mlp, u = make_mlp(kind), tokens().requires_grad_()
    weights = mlp.gate(u).expand(2, 9, 3)
    outputs = torch.stack([expert(u) for expert in mlp.experts.values()], dim=-1)
    expected = (outputs * weights[:, :, None]).sum(dim=-1)
    torch.testing.assert_close(mlp(u), expected)
    # Also to the tokens, which reach it through the experts and through the gate.
    gradients = [torch.autograd.grad(y.square().sum(), u)[0] for y in (mlp(u), expected)]
    torch.testing.assert_close(*gradients)


def test_permuting_a_gates_rows_permutes_its_weights_and_with_the_experts_changes_nothing():
    mlp, u, order = make_mlp(), tokens(), [2, 0, 1]
    other = permuted(mlp, order)
    # Experts alone: the gate gives the weight of one to another, so the mixture is another.
    assert (other(u) - mlp(u)).abs().max() > 0.01
    other.gate.linear.weight.data = mlp.gate.linear.weight.data[order]
    torch.testing.assert_close(other.gate(u), mlp.gate(u)[..., order])
    torch.testing.assert_close(other(u), mlp(u))


def test_the_released_gate_cannot_weigh_experts():
    mlp, u = make_mlp("released"), tokens()
    # Permuted experts are the same to it, whatever its own weights are: it does not tell them apart.
    torch.testing.assert_close(permuted(mlp, [2, 0, 1])(u), mlp(u))
    # Its factors sum to one over channels, of which it knows the number, and not over experts.
    factors = mlp.gate(u)
    assert factors.shape == (2, 9, 8)
    torch.testing.assert_close(factors.sum(dim=-1), torch.ones(2, 9))
    # No weights of it are one expert alone, and where it is undecided it shrinks their sum by the number of channels.
    torch.nn.init.zeros_(mlp.gate.linear.weight)
    torch.nn.init.zeros_(mlp.gate.linear.bias)
    torch.testing.assert_close(mlp(u), sum(expert(u) for expert in mlp.experts.values()) / 8)


def test_under_the_released_gate_a_dataset_makes_no_difference_to_features_while_a_gate_with_a_prior_does():
    images, differences = torch.randn(1, 16, 16), {}
    for name, gate in {"released": {"gate": "released", "gate_start": None}, "own": {"gate_start": "own"}}.items():
        model, seen = build_m4oe(make_config(experts={"mix": "gated"} | gate), seed=0), []
        model.trunks["shared"].register_forward_hook(lambda trunk, inputs, features, seen=seen: seen.append(features))
        for dataset in ("flare22", "atlas23"):
            model(images, dataset)
        differences[name] = (seen[0] - seen[1]).abs().max().item()
    assert differences["released"] == 0
    assert differences["own"] > 0


@pytest.mark.parametrize("kind", ["tokens", "image", "released"])
def test_gradients_reach_every_gate_and_every_expert(kind):
    model = build_m4oe(make_config(experts={"mix": "gated", "gate": kind}), seed=0)
    model(torch.randn(2, 16, 16), "flare22").square().mean().backward()
    for gate in model.gates.values():
        assert gate.linear.weight.grad.abs().max() > 0
    experts = [p for name, p in model.named_parameters() if ".experts." in name]
    assert len(experts) == 6 * 3 * 4
    assert all(p.grad.abs().max() > 0 for p in experts)


def test_a_hard_pass_computes_the_named_expert_alone():
    mlp = make_mlp(gated=False)
    mlp.route.expert = 1
    mlp(tokens()).sum().backward()
    assert {name for name, p in mlp.named_parameters() if p.grad is not None} == {
        f"experts.mri.{layer}.{kind}" for layer in ("fc1", "fc2") for kind in ("weight", "bias")
    }
