"""Volumes as slices through the 2D ViT, pooled by attention."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from mosaic_pipeline.data.augment import STATISTICS, normalise
from mosaic_pipeline.model.slices import SliceAttention

SLICES = {"tokenizer_3d__kind": "slices", "tokenizer_3d__slices": 4}
VOLUMES = ("nodulemnist3d", "vesselmnist3d")
EVERY = itertools.product(
    ("bottleneck", "lora", "prompt"), ("specialists", "modality", "shared", "per_dataset", "gated")
)


def volumes(count: int = 3) -> torch.Tensor:
    return torch.randn((count, 1, 16, 16, 16), generator=torch.Generator().manual_seed(1))


def by_hand(batch: torch.Tensor) -> torch.Tensor:
    """Slices 2, 6, 10 and 14 of 16 as images of 32 px, [N, 4, 3, 32, 32]."""
    resized = F.interpolate(batch[:, 0, [2, 6, 10, 14]], size=(32, 32), mode="bilinear")
    return resized.unsqueeze(2).expand(-1, -1, 3, -1, -1)


def stirred(model):
    """Give every trained tensor values that do something."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if model.is_trainable(name):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize(("kind", "routing"), [*EVERY, ("none", "specialists"), ("none", "per_dataset")])
def test_the_feature_starts_as_the_mean_over_slices_of_the_plain_vit(make_model, make_backbone, kind, routing):
    start = {"adapter__kind": kind, "adapter__routing": routing, "adapter__prompt_strength": 0.0}
    model, vit = make_model(VOLUMES, **start, **SLICES), make_backbone()
    expected = vit(by_hand(volumes()).flatten(0, 1)).unflatten(0, (3, 4)).mean(dim=1)
    for name in VOLUMES:
        feature, logits = model(volumes(), name)
        torch.testing.assert_close(feature, expected)
        torch.testing.assert_close(logits, model.heads[name](expected))


@pytest.mark.parametrize(
    ("variant", "routing"), [("mosaic", "specialists"), ("mosaic", "gated"), ("full_finetune", "")]
)
def test_a_batch_reaches_just_the_parameters_that_it_is_said_to_train(make_model, variant, routing):
    overrides = SLICES | ({"adapter__routing": routing} if routing else {})
    model = stirred(make_model((*VOLUMES, "breastmnist"), variant=variant, **overrides))
    for name in model.routing.datasets:
        images = torch.randn(3, 3, 32, 32) if name == "breastmnist" else volumes()
        feature, logits = model(images, name)
        (logits.square().sum() + feature.square().sum()).backward()
        reached = {key for key, parameter in model.named_parameters() if parameter.grad is not None}
        assert reached == {key for key, _ in model.active_parameters(name)}
        model.zero_grad(set_to_none=True)


def test_query_and_positions_learn_from_the_first_step(make_model):
    model = make_model(VOLUMES, **SLICES)
    model(volumes(), VOLUMES[0])[1].square().sum().backward()
    pooling = model.tokenizers_3d["shared"]
    assert pooling.query.grad.abs().max() > 0
    assert (pooling.positions.grad.abs().amax(dim=1) > 0).all()


@pytest.mark.parametrize(("routing", "names"), [("specialists", ["shared"]), ("per_dataset", [*VOLUMES])])
def test_a_pooling_is_a_query_and_a_position_a_slice_shared_as_the_tokenizer_would_be(make_model, routing, names):
    model = make_model(VOLUMES, adapter__routing=routing, **SLICES)
    assert list(model.tokenizers_3d) == names
    counts = model.parameter_counts()
    assert (counts["tokenizer_3d"], counts["positions_3d"]) == (24 * len(names), 4 * 24 * len(names))
    assert (model.tokenizer(VOLUMES[0]) is model.tokenizer(VOLUMES[1])) == (len(names) == 1)
    assert {name for name in model.trainable_state() if name.startswith("tokenizers_3d")} == {
        f"tokenizers_3d.{name}.{tensor}" for name in names for tensor in ("query", "positions")
    }


def test_without_positions_the_order_of_slices_does_not_matter_and_with_them_it_does(make_model):
    model, batch = stirred(make_model(VOLUMES, **SLICES)), volumes()
    swapped = batch.clone()
    swapped[:, :, [2, 6, 10, 14]] = batch[:, :, [10, 14, 6, 2]]
    name, pooling = VOLUMES[0], model.tokenizers_3d["shared"]
    assert not torch.allclose(model(swapped, name)[0], model(batch, name)[0], atol=1e-3)
    with torch.no_grad():
        pooling.positions.zero_()
    torch.testing.assert_close(model(swapped, name)[0], model(batch, name)[0])


def test_the_query_weighs_slices_by_their_features():
    pooling = SliceAttention(4, slices=2, image_size=32)
    with torch.no_grad():
        pooling.query[0] = 2.0
    features = torch.tensor([[3.0, 0, 0, 1], [1.0, 0, 1, 0]])
    weight = torch.tensor(2.0).sigmoid()  # of (3 - 1) * 2 / sqrt(4)
    expected = weight * features[0] + (1 - weight) * features[1]
    torch.testing.assert_close(pooling(features), expected[None])


@pytest.mark.parametrize(
    ("depth", "slices", "middles"), [(28, 8, [1, 5, 8, 12, 15, 19, 22, 26]), (5, 5, [0, 1, 2, 3, 4])]
)
def test_slices_are_the_middles_of_equal_parts_of_the_first_axis(depth, slices, middles):
    batch = torch.zeros(2, 1, depth, depth, depth) + torch.arange(depth).view(-1, 1, 1)
    images = SliceAttention(4, slices, image_size=32).cut(batch)
    assert images.shape == (2 * slices, 3, 32, 32)
    assert images[:, 0, 0, 0].tolist() == 2 * middles


def test_slices_are_compiled_with_the_batches_that_are_named(make_model, monkeypatch):
    compiled = []
    monkeypatch.setattr(
        torch, "compile", lambda run, dynamic: lambda b, a, last, x: compiled.append(len(x)) or run(b, a, last, x)
    )
    model = make_model(VOLUMES, **SLICES)
    model.compile_blocks({3})
    for count in (3, 2):
        model(volumes(count), VOLUMES[0])
    assert compiled == [12, 12]


@pytest.mark.parametrize("name", ["imagenet", "clip"])
def test_slices_are_what_images_of_the_same_gray_are_to_the_vit(make_model, name):
    gray = volumes().sigmoid()
    (tokenizer,) = make_model(VOLUMES, model__normalisation=name, **SLICES).tokenizers_3d.values()
    images = by_hand(gray)[:, :, :1].flatten(0, 1)
    torch.testing.assert_close(tokenizer.cut(normalise(gray)), normalise(images, STATISTICS[name]))
