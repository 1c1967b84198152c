import math

import pytest
import torch

from mosaic_pipeline.analysis.gate_weights import gate_weights
from mosaic_pipeline.analysis.observe import observe

KINDS = ("bottleneck", "lora", "prompt")


@pytest.fixture
def make_gated(make_subject):
    def make(**overrides):
        return make_subject(adapter__routing="gated", **overrides)

    return make


@pytest.mark.parametrize("looks_at", ["tokens", "image"])
@pytest.mark.parametrize("kind", KINDS)
def test_mean_weights_sum_to_one_and_entropies_lie_between_a_choice_and_none(make_gated, kind, looks_at):
    result = gate_weights(make_gated(adapter__kind=kind, adapter__gate=looks_at))
    assert result["specialists"] == ["A", "B", "C"]
    for name, weights in result["weights"].items():
        assert torch.tensor(weights).shape == (2, 3)
        assert [sum(layer) for layer in weights] == pytest.approx([1, 1])
        assert all(0 < value < math.log(3) for value in result["entropy"][name])


@pytest.mark.parametrize("looks_at", ["tokens", "image"])
def test_a_gate_of_zeros_gives_every_specialist_the_same(make_gated, looks_at):
    result = gate_weights(make_gated(trained=False, adapter__gate=looks_at))
    for name, weights in result["weights"].items():
        assert weights == [pytest.approx([1 / 3] * 3)] * 2
        assert result["entropy"][name] == pytest.approx([math.log(3)] * 2)


def test_a_gate_that_has_chosen_has_no_entropy(make_gated):
    subject = make_gated()
    for gate in subject.model.gates:
        gate.linear.weight.data.zero_()
        gate.linear.bias.data.copy_(torch.tensor([0.0, 200.0, 0.0]))
    result = gate_weights(subject)
    for name, weights in result["weights"].items():
        assert weights == [pytest.approx([0, 1, 0])] * 2
        assert result["entropy"][name] == pytest.approx([0, 0], abs=1e-9)


def test_the_entropy_is_of_each_tokens_weights_not_of_their_mean(make_gated):
    subject = make_gated()
    for gate in subject.model.gates:
        gate.linear.weight.data.mul_(1000)
    result = gate_weights(subject)
    mixed = [weights for by_layer in result["weights"].values() for weights in by_layer if max(weights) < 0.9]
    assert mixed
    assert max(value for by_layer in result["entropy"].values() for value in by_layer) < 0.1


def test_beside_the_last_mlp_only_the_class_tokens_weights_count(make_gated):
    subject = make_gated(batch_size=10)
    result = gate_weights(subject)
    for name in subject.cases:
        first, last = observe(subject, name)
        expected = first.adapter.weights.mean(dim=(0, 1)), last.adapter.weights[:, 0].mean(dim=0)
        for found, layer in zip(result["weights"][name], expected, strict=True):
            assert found == pytest.approx(layer.tolist(), rel=1e-5)


def test_weights_of_a_gate_that_is_not_yet_in_use_are_not_shown(make_gated):
    subject = make_gated()
    subject.model.gated = False
    assert gate_weights(subject) is None
