"""Each analysis says of a small model what is computed by hand from its parts."""

import math

import numpy as np
import pytest
import torch

from mosaic_pipeline.data.batches import Batch
from mosaic_pipeline.segmentation.analysis.conflicts import conflicts
from mosaic_pipeline.segmentation.analysis.counterfactual import counterfactual
from mosaic_pipeline.segmentation.analysis.gates import gate_maps, gate_weights
from mosaic_pipeline.segmentation.analysis.outputs import summarise
from mosaic_pipeline.segmentation.analysis.similarity import similarity
from mosaic_pipeline.segmentation.analysis.subject import Chosen
from mosaic_pipeline.segmentation.training.losses import class_weights, segmentation_loss
from tests.segmentation.analysis.conftest import NAMES, all_of

GATED = {"mix": "gated"}
ANALYSES = (counterfactual, gate_weights, gate_maps, similarity, conflicts)


def test_each_set_scores_through_each_expert_what_that_expert_finds(make_subject):
    subject = make_subject()
    result = counterfactual(subject)
    assert (result["datasets"], result["experts"], result["own"]) == (list(NAMES),) * 3
    for name, row in zip(NAMES, result["dsc"], strict=True):
        images, labels = all_of(subject.slices[name])
        cases = subject.slices[name].where[:, 0]
        for expert, value in zip(NAMES, row, strict=True):
            with torch.inference_mode():
                found = subject.model(images, name, expert=expert).argmax(1).numpy()
            organs = []
            for place in range(1, subject.model.datasets[name].num_classes):
                scores = []
                for case in np.unique(cases):
                    a, b = (each[cases == case] == place for each in (found, labels))
                    scores.append(2 * (a & b).sum() / (a.sum() + b.sum()))
                organs.append(np.mean(scores))
            assert value == pytest.approx(np.mean(organs))
    assert len({round(value, 9) for row in result["dsc"] for value in row}) > 3
    own = np.mean(np.diag(result["dsc"]))
    assert summarise("counterfactual", result)["own_dsc"] == pytest.approx(own)


def test_gates_weights_and_entropy_are_means_over_tokens(make_subject):
    subject = make_subject(experts=GATED)
    # One that decides: expert 2 wherever it looks.
    gate = subject.mlps["encoder.0.1"].gate
    with torch.no_grad():
        gate.linear.weight.zero_()
        gate.linear.bias.copy_(torch.tensor([0.0, 0.0, 50.0]))
        subject.mlps["decoder.0.0"].gate.linear.weight.zero_()
        subject.mlps["decoder.0.0"].gate.linear.bias.zero_()
    result = gate_weights(subject)
    assert result["experts"] == list(NAMES)
    assert result["layers"] == [
        f"{place}.{stage}.{n}" for place, stage in (("encoder", 0), ("encoder", 1), ("decoder", 0)) for n in (0, 1)
    ]
    decided, uniform = (result["layers"].index(layer) for layer in ("encoder.0.1", "decoder.0.0"))
    for each in result["datasets"].values():
        weights = np.array(each["weights"])
        assert weights.sum(axis=1) == pytest.approx(1)
        assert weights[decided] == pytest.approx([0, 0, 1])
        assert weights[uniform] == pytest.approx(1 / 3)
        assert each["entropy"][decided] == pytest.approx(0, abs=1e-9)
        assert each["entropy"][uniform] == pytest.approx(1)
        others = [value for layer, value in enumerate(each["entropy"]) if layer not in (decided, uniform)]
        assert all(0 < value < 1 for value in others)


def test_a_gate_that_starts_at_the_own_expert_is_seen_with_its_prior(make_subject):
    result = gate_weights(make_subject(experts=GATED | {"gate_start": "own"}, noise=0.0))
    for row, each in enumerate(result["datasets"].values()):
        assert np.array(each["weights"])[:, row] == pytest.approx(0.9, abs=1e-6)


def test_maps_are_the_gate_s_weights_over_the_slice_that_they_come_with(make_subject):
    subject = make_subject(experts=GATED)
    maps = gate_maps(subject)
    assert [(each["dataset"], each["layer"]) for each in maps] == [
        (name, layer) for name in NAMES for layer in ("encoder.0.0", "decoder.0.1")
    ]
    for each in maps:
        images, labels = all_of(subject.slices[each["dataset"]])
        best = int((labels > 0).sum((1, 2)).argmax())
        assert np.array_equal(each["image"], np.rint((images[best].numpy() + 1) * 127.5).astype(int).clip(0, 255))
        weights = np.array(each["weights"])
        assert weights.shape == (3, 4, 4)
        assert weights.sum(axis=0) == pytest.approx(1, abs=0.002)
    first = maps[0]
    # The tokens of the first block, computed by its parts.
    model, images = subject.model, all_of(subject.slices["flare22"])[0]
    best = int((all_of(subject.slices["flare22"])[1] > 0).sum((1, 2)).argmax())
    block = model.trunks["shared"].encoder[0].blocks[0]
    with torch.inference_mode():
        x = model.trunks["shared"].embed(images[best : best + 1, None])
        x = x + block._attn(block.norm1(x))
        expected = block.mlp.gate(block.norm2(x.reshape(1, 16, -1)))[0].reshape(4, 4, 3).movedim(-1, 0)
    assert np.array(first["weights"]) == pytest.approx(expected.numpy(), abs=0.001)


def test_equal_experts_are_alike_and_scaled_ones_too_others_are_not(make_subject):
    subject = make_subject(noise=0.5)
    with torch.no_grad():
        for mlp in subject.mlps.values():
            first, second = (mlp.experts[name] for name in NAMES[:2])
            second.load_state_dict(first.state_dict())
            second.fc2.weight *= 3
            second.fc2.bias *= 3
    result = similarity(subject)
    cka = np.array(result["cka"])
    assert cka.shape == (6, 3, 3)
    assert result["layers"] == list(subject.mlps)
    assert cka[:, 0, 1] == pytest.approx(1, abs=1e-4)
    assert (cka[:, 0, 2] < 0.99).all()


@pytest.mark.parametrize(("experts", "shared"), [({}, "trunk"), ({"routing": "shared"}, "all"), (GATED, "gates")])
def test_conflicts_are_cosines_of_gradients_of_what_every_set_trains(make_subject, experts, shared):
    subject = make_subject(experts=experts, train={"batch_size": 8}, limit=5)
    model = subject.model
    names = [name for name, _ in model.named_parameters() if not name.startswith("heads.")]
    if shared == "trunk":
        names = [name for name in names if ".experts." not in name]
    result = conflicts(subject)
    gradients = []
    for name in NAMES:
        images, labels = all_of(subject.slices[name])
        # Halves of every second slice, each of one batch; Dice is of a batch as a whole.
        total = 0
        for start in (0, 1):
            loss = segmentation_loss(
                model(images[start::2], name),
                torch.from_numpy(labels[start::2]),
                ce=0.4,
                dice=0.6,
                weights=class_weights(subject.class_voxels[name], 0.5),
            )
            model.zero_grad()
            loss.backward()
            own = dict(model.named_parameters())
            total = total + torch.cat([own[each].grad.flatten() for each in names]).double() * len(images[start::2])
        gradients.append(total)
    model.zero_grad()
    expected = [[float(torch.cosine_similarity(a, b, dim=0)) for b in gradients] for a in gradients]
    assert np.array(result["cosine"]) == pytest.approx(np.array(expected), abs=1e-5)
    assert result["parameters"] == sum(dict(model.named_parameters())[each].numel() for each in names)
    assert all(-1 <= value <= 1 for value in result["halves"])
    conflicts(subject)
    assert all(parameter.grad is None for parameter in model.parameters())


APPLIES = {
    "hard": ({}, {"counterfactual", "similarity", "conflicts"}),
    "gated": (GATED, {"gate_weights", "gate_maps", "similarity", "conflicts"}),
    "gate on images": (GATED | {"gate": "image"}, {"gate_weights", "similarity", "conflicts"}),
    "released": (GATED | {"gate": "released", "gate_start": None}, {"similarity", "conflicts"}),
    "dense": ({"routing": "shared"}, {"conflicts"}),
    "single": ({"routing": "single"}, {"counterfactual"}),
    "decoder only": (GATED | {"where": "decoder"}, {"gate_weights", "gate_maps", "similarity", "conflicts"}),
    "frozen experts": (
        GATED | {"gate_trains": "gates_heads_norms"},
        {"gate_weights", "gate_maps", "similarity", "conflicts"},
    ),
}


@pytest.mark.parametrize(("experts", "expected"), APPLIES.values(), ids=APPLIES)
def test_an_analysis_that_does_not_apply_has_no_result_and_none_changes_the_model(make_subject, experts, expected):
    subject = make_subject(experts=experts)
    before = {name: tensor.clone() for name, tensor in subject.model.trainable_state().items()}
    results = {analyse.__name__: analyse(subject) for analyse in ANALYSES}
    assert {name for name, result in results.items() if result is not None} == expected
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.model.trainable_state().items())
    assert not subject.model.training
    assert not any(module._forward_hooks for module in subject.model.modules())


def test_batches_and_their_size_do_not_matter(make_subject):
    for experts in ({}, GATED):
        one, two = (make_subject(experts=experts, batch_size=size) for size in (1, 6))
        for analyse in ANALYSES:
            a, b = analyse(one), analyse(two)
            assert (a is None) == (b is None)
            assert _numbers(a) == pytest.approx(_numbers(b), abs=1e-5)


def _numbers(tree):
    if isinstance(tree, dict):
        return [number for value in tree.values() for number in _numbers(value)]
    if isinstance(tree, list):
        return [number for value in tree for number in _numbers(value)]
    return [tree] if isinstance(tree, float) and not math.isnan(tree) else []


class Stub:
    """A split of ten slices, of which the odd ones have an organ."""

    device, where = torch.device("cpu"), np.stack([np.zeros(10, int), np.arange(10)], axis=1)

    def __len__(self):
        return 10

    def batches(self, positions, order=None):
        labels = (torch.arange(10) % 2)[:, None, None].expand(10, 4, 4)
        return (Batch(labels, labels[taken]) for taken in positions)


def test_slices_without_an_organ_are_left_out():
    assert Chosen.choose(Stub(), 3).where[:, 1].tolist() == [1, 5, 9]
    assert Chosen.choose(Stub(), 9).where[:, 1].tolist() == [1, 3, 5, 7, 9]


def test_slices_with_an_organ_are_chosen_evenly_and_the_same_each_time(make_subject):
    subject = make_subject(limit=2)
    for chosen in subject.slices.values():
        assert len(chosen) == 2
        assert chosen.where[:, 1].tolist() == [0, 2]
        assert (all_of(chosen)[1] > 0).any((1, 2)).all()
