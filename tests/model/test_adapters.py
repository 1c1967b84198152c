"""Specialists of every kind, under every routing, and the gate that mixes them."""

import itertools
import math

import pytest
import torch

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.model.gate import Gate, Mixture
from mosaic_pipeline.model.kinds import KINDS
from mosaic_pipeline.model.lora import Lora
from mosaic_pipeline.model.prompt import Prompt

EVERY_KIND = (*KINDS, "learned prompt")
ROUTINGS = ("specialists", "modality", "shared", "per_dataset", "random", "gated")
EVERY = list(itertools.product(EVERY_KIND, ROUTINGS))


def of(kind: str) -> dict:
    """The parameters of a kind; prompts have a fixed strength of 1 or learn it from elsewhere."""
    learned = {"adapter__prompt_strength": 0.5} if kind == "learned prompt" else {}
    return {"adapter__kind": kind.removeprefix("learned ")} | learned


def batch_of(name: str, count: int = 3) -> torch.Tensor:
    shape = (count, 3, 32, 32) if MEDMNIST[name].dimension == 2 else (count, 1, 16, 16, 16)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def stirred(model, seed: int = 2):
    """Give every trained tensor values that do something, the same ones for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if model.is_trainable(name):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize(("kind", "routing"), [one for one in EVERY if one[0] != "prompt"])
def test_any_kind_under_any_routing_starts_as_the_plain_vit_and_can_leave_it(make_model, make_backbone, kind, routing):
    overrides = of(kind) | {"adapter__prompt_strength": 0.0}
    model, vit = make_model(**overrides, adapter__routing=routing), make_backbone()
    for name in ("retinamnist", "breastmnist"):
        torch.testing.assert_close(model(batch_of(name), name)[0], vit(batch_of(name)))
    assert not torch.allclose(stirred(model)(batch_of(name), name)[0], vit(batch_of(name)), atol=1e-3)


@pytest.mark.parametrize(("kind", "routing"), EVERY)
def test_a_batch_reaches_just_the_parameters_that_it_is_said_to_train(make_model, kind, routing):
    # Two datasets of every specialist: each may have parts of its own.
    names = ("retinamnist", "dermamnist", "breastmnist", "chestmnist", "nodulemnist3d", "vesselmnist3d")
    model = stirred(make_model(names, **of(kind), adapter__routing=routing))
    for name in names:
        feature, logits = model(batch_of(name), name)
        (logits.square().sum() + feature.square().sum()).backward()
        reached = {key for key, parameter in model.named_parameters() if parameter.grad is not None}
        assert reached == {key for key, _ in model.active_parameters(name)}
        model.zero_grad(set_to_none=True)


def test_lora_is_a_low_rank_change_of_query_and_value_and_not_of_key(make_model, make_backbone):
    model, vit, images = (
        make_model(adapter__kind="lora", adapter__routing="shared"),
        make_backbone(),
        batch_of("breastmnist"),
    )
    stirred(model)
    dim = vit.embed_dim
    with torch.no_grad():
        for block, lora in zip(vit.blocks, model.specialists["shared"], strict=True):
            for part, rows in ((lora.query, slice(0, dim)), (lora.value, slice(2 * dim, 3 * dim))):
                a, b = part[0].weight, part[1].weight
                assert (a.shape, b.shape) == ((2, dim), (dim, 2))
                block.attn.qkv.weight[rows] += 2 * b @ a  # alpha = 2 r, so alpha / r = 2
    torch.testing.assert_close(model(images, "breastmnist")[0], vit(images), rtol=1e-4, atol=1e-4)


def test_prompts_start_apart_from_each_other(make_model):
    for prompt in make_model(adapter__kind="prompt").specialists["A"]:
        assert len(prompt.tokens.unique(dim=0)) == len(prompt.tokens) > 1


def test_prompts_at_full_strength_are_tokens_of_every_layer_as_in_vpt_deep(make_model, make_backbone):
    model, vit = stirred(make_model(adapter__kind="prompt", adapter__routing="shared")), make_backbone()
    images = batch_of("retinamnist")
    x = torch.cat([vit.cls_token.expand(3, -1, -1), vit.patch_embed(images)], dim=1) + vit.pos_embed
    for block, prompt in zip(vit.blocks, model.specialists["shared"], strict=True):
        with_prompts = torch.cat([x[:, :1], prompt.tokens.expand(3, -1, -1), x[:, 1:]], dim=1)
        assert with_prompts.shape[1] == x.shape[1] + 3
        y = block(with_prompts)
        x = torch.cat([y[:, :1], y[:, 4:]], dim=1)
    torch.testing.assert_close(model(images, "retinamnist")[0], vit.norm(x)[:, 0], rtol=1e-5, atol=1e-5)


def test_prompts_at_full_strength_are_their_tokens_alone_and_others_learn_a_strength(make_model):
    full, learned = (make_model(**of(kind)).specialists["A"] for kind in ("prompt", "learned prompt"))
    assert {name for name, _ in full[0].named_parameters()} == {"tokens"}
    assert {name for name, _ in learned[0].named_parameters()} == {"tokens", "strength"}
    assert learned[0].strength == 0.5


def test_a_learned_strength_that_has_reached_one_is_vpt_deep(make_model):
    full, learned = (stirred(make_model(**of(kind))) for kind in ("prompt", "learned prompt"))
    for name, tensor in full.trainable_state().items():
        learned.get_parameter(name).data.copy_(tensor)
    for specialist in learned.specialists.values():
        for prompt in specialist:
            torch.nn.init.ones_(prompt.strength)
    images = batch_of("retinamnist")
    torch.testing.assert_close(learned(images, "retinamnist"), full(images, "retinamnist"), rtol=1e-5, atol=1e-5)


def test_the_strength_scales_the_prompts_effect(make_model, make_backbone):
    images, features = batch_of("retinamnist"), []
    for strength in (0.0, 0.001, 0.002):
        overrides = {"adapter__kind": "prompt", "adapter__prompt_strength": strength}
        features.append(make_model(**overrides)(images, "retinamnist")[0])
    plain = make_backbone()(images)
    torch.testing.assert_close(features[0], plain)
    torch.testing.assert_close(features[2] - plain, 2 * (features[1] - plain), rtol=0.05, atol=2e-6)


GATES = pytest.mark.parametrize("looks_at", ["tokens", "image"])


@GATES
def test_gate_weights_sum_to_one_and_are_all_alike_at_the_start(looks_at):
    gate, tokens = Gate(8, 3, looks_at), torch.randn(2, 5, 8)
    assert torch.all(gate(tokens) == 1 / 3)
    torch.nn.init.normal_(gate.linear.weight)
    weights = gate(tokens)
    assert weights.shape == (2, 5 if looks_at == "tokens" else 1, 3)
    assert weights.std() > 0.01
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:2]))


STARTS = pytest.mark.parametrize("start", ["uniform", "routing"])


@GATES
def test_a_gate_that_starts_at_the_routing_gives_most_weight_to_the_datasets_own_specialist(make_model, looks_at):
    model = make_model(adapter__routing="gated", adapter__gate_start="routing", adapter__gate=looks_at)
    tokens = torch.randn(2, 5, 24)
    for name, own in (("retinamnist", 0), ("breastmnist", 1), ("nodulemnist3d", 2)):
        for mixture in model.adapters(name):
            weights = mixture.at(tokens).weights
            assert weights.shape == (2, 5 if looks_at == "tokens" else 1, 3)
            expected = torch.full((3,), 0.05)
            expected[own] = 0.9
            torch.testing.assert_close(weights, expected.expand_as(weights))
    # It learns from there: what the linear part gives comes on top.
    gate = model.gates[0]
    torch.nn.init.normal_(gate.linear.weight)
    prior = torch.tensor([math.log(18), 0.0, 0.0])
    torch.testing.assert_close(gate(tokens, 0).log(), (gate(tokens).log() + prior).log_softmax(dim=-1))


def test_a_gate_that_starts_alike_knows_no_own_specialist(make_model):
    model = make_model(adapter__routing="gated")
    for mixture in model.adapters("retinamnist"):
        assert torch.equal(mixture.at(torch.randn(2, 5, 24)).weights, torch.full((2, 5, 3), 1 / 3))


def test_a_gate_of_one_specialist_gives_it_everything(make_model):
    model = make_model(("retinamnist",), adapter__routing="gated", adapter__gate_start="routing")
    for mixture in model.adapters("retinamnist"):
        assert (mixture.at(torch.randn(2, 5, 24)).weights == 1).all()


def test_a_gate_on_tokens_weighs_each_by_itself_and_one_on_the_image_by_their_mean():
    tokens = torch.randn(1, 5, 8)
    by_token, by_image = Gate(8, 3, "tokens"), Gate(8, 3, "image")
    torch.nn.init.normal_(by_token.linear.weight)
    by_image.load_state_dict(by_token.state_dict())
    torch.testing.assert_close(by_token(tokens)[:, 2:3], by_token(tokens[:, 2:3]))
    torch.testing.assert_close(by_image(tokens), by_token(tokens.mean(dim=1, keepdim=True)))


def decide(model, index: int) -> None:
    """Let every gate choose one specialist, whatever it sees."""
    for gate in model.gates:
        torch.nn.init.zeros_(gate.linear.weight)
        gate.linear.bias.data.fill_(-1000.0)[index] = 0.0


@GATES
@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("name", ["retinamnist", "nodulemnist3d"])
def test_a_one_hot_gate_equals_its_specialist_also_one_of_other_data(make_model, kind, looks_at, name):
    model = stirred(make_model(**of(kind), adapter__routing="gated", adapter__gate=looks_at))
    mixed, alone = [], []
    for index, specialist in enumerate(model.specialists):
        decide(model, index)
        model.gated = True
        mixed.append(model(batch_of(name), name)[0])
        model.gated = False
        model.routing = model.routing.model_copy(update={"datasets": {name: specialist}})
        alone.append(model(batch_of(name), name)[0])
    torch.testing.assert_close(mixed, alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)


@STARTS
@GATES
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_permuting_the_specialists_permutes_the_weights_and_changes_nothing_else(make_model, kind, looks_at, start):
    overrides = of(kind) | {"adapter__gate": looks_at, "adapter__gate_start": start}
    model = stirred(make_model(**overrides, adapter__routing="gated"))
    images = batch_of("breastmnist")
    before = model(images, "breastmnist")[0]
    tokens = torch.randn(2, 5, 24)
    weights = [gate(tokens) for gate in model.gates]
    order = [2, 0, 1]
    names = list(model.specialists)
    model.specialists = torch.nn.ModuleDict({names[index]: model.specialists[names[index]] for index in order})
    with torch.no_grad():
        for gate in model.gates:
            gate.linear.weight.copy_(gate.linear.weight[order].clone())
            gate.linear.bias.copy_(gate.linear.bias[order].clone())
    for gate, was in zip(model.gates, weights, strict=True):
        torch.testing.assert_close(gate(tokens), was[..., order])
    torch.testing.assert_close(model(images, "breastmnist")[0], before, rtol=1e-4, atol=1e-5)


@STARTS
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_gradients_reach_every_gate_and_every_specialist(make_model, kind, start):
    model = stirred(make_model(**of(kind), adapter__routing="gated", adapter__gate_start=start))
    model(batch_of("retinamnist"), "retinamnist")[1].square().sum().backward()
    for gate in model.gates:
        assert gate.linear.weight.grad.abs().max() > 0
    for specialist in model.specialists.values():
        assert all(parameter.grad.abs().max() > 0 for parameter in specialist.parameters())


def test_a_mixture_of_the_class_token_alone_takes_the_class_tokens_weights():
    torch.manual_seed(0)
    adapters = tuple(Lora(8, 2, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    for adapter in adapters:
        torch.nn.init.normal_(adapter.query[1].weight)
    gate = Gate(8, 2, "tokens")
    torch.nn.init.normal_(gate.linear.weight)
    tokens = torch.randn(2, 5, 8)
    mixture = Mixture(adapters, gate).at(tokens)
    whole, class_token = mixture.query_value(tokens)[0], mixture.query_value(tokens[:, :1])[0]
    torch.testing.assert_close(class_token, whole[:, :1])


def test_prompts_of_a_mixture_are_the_weighted_means():
    prompts = [Prompt(4, 2, strength, torch.Generator().manual_seed(0)) for strength in (2.0, 4.0)]
    with torch.no_grad():
        prompts[1].tokens.mul_(5)
    gate, seen = Gate(4, 2, "tokens"), torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    torch.nn.init.normal_(gate.linear.weight)
    tokens, strengths = Mixture(tuple(prompts), gate).at(seen).prompts()
    assert (tokens.shape, strengths.shape) == ((3, 2, 4), (3,))
    # Over all tokens of an image, each with weights of its own.
    share = gate(seen)[..., 1].mean(dim=1)
    torch.testing.assert_close(tokens, prompts[0].tokens * (1 + 4 * share).view(3, 1, 1))
    torch.testing.assert_close(strengths, 2 + 2 * share)
