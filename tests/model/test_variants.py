"""The committed variants: how many parameters each has at the paper's scale, and what it changes in the model."""

import pytest
import torch
from torch import nn

from mosaic_pipeline.config import resolve
from mosaic_pipeline.data.augment import STATISTICS, normalise
from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.model.mosaic import build_mosaic
from mosaic_pipeline.model.tokenizer import VolumeTokenizer, inflate
from mosaic_pipeline.model.vit import VisionTransformer
from mosaic_pipeline.params import Params

HEADS, TOKENIZER = 87_666, 393_984 + 393_984


@pytest.fixture(scope="module")
def paper(params) -> Params:
    tree = params.model_dump()
    tree["model"] |= {"backbone": "vit_base_patch16_224", "image_size": 224, "volume_size": 64}
    return Params.model_validate(tree)


@pytest.fixture(scope="module")
def counts(paper):
    """Parameter counts of a variant on ViT-B/16 with all 18 datasets, built for real but without storage."""

    def count(variant: str) -> dict:
        config = resolve(paper, variant).for_seed(0)
        with torch.device("meta"):
            backbone = build_backbone(config.model.backbone, config.model.patch_size, config.model.image_size)
        backbone = backbone.to_empty(device="cpu")
        return build_mosaic(config, backbone, seed=0).parameter_counts()

    return count


def test_the_released_variant_has_the_counts_of_the_public_code(counts):
    found = counts("released")
    assert (found["trainable"], found["total"]) == (6_662_898, 93_252_594)


@pytest.mark.parametrize(
    ("variant", "published", "tokenizers"),
    [("lora_joint_r8", 0.38e6, 1), ("lora_per_dataset_r8", 5.40e6, 6), ("prompt_joint", 0.18e6, 1)],
)
def test_baselines_have_the_published_counts_but_for_the_trained_3d_tokenizer(counts, variant, published, tokenizers):
    """The published counts are those of adapters and heads; here the 3D tokenizer is trained too, as in MOSAIC."""
    found = counts(variant)
    adapters_and_heads = sum(found["specialists"].values()) + HEADS
    assert abs(adapters_and_heads - published) < 0.005e6
    assert found["trainable"] == adapters_and_heads + tokenizers * TOKENIZER


def test_vpt_deep_is_ten_tokens_a_layer(counts):
    assert sum(counts("prompt_joint")["specialists"].values()) == 12 * 10 * 768


def test_variants_of_the_same_budget_have_it(counts):
    mosaic = sum(counts("mosaic")["specialists"].values())
    # A bias of D for each specialist and layer is all that three cost more than one.
    for variant, specialists in (("shared", 1), ("modality", 2), ("random_routing", 3)):
        assert mosaic - sum(counts(variant)["specialists"].values()) == (3 - specialists) * 12 * 768
    # 18 x 19 is ten columns less, and 18 specialists have as many biases of D.
    apart = sum(counts("per_dataset_matched")["specialists"].values())
    assert mosaic - apart == 12 * (10 * (2 * 768 + 1) - (18 - 3) * 768)
    # 3 x 117 is one column less than 64 + 96 + 192.
    assert mosaic - sum(counts("equal_bottlenecks")["specialists"].values()) == 12 * (2 * 768 + 1)


def test_gates_are_three_rows_a_layer(counts):
    assert counts("gated")["gates"] == 12 * (768 + 1) * 3


def test_full_fine_tuning_trains_everything(make_model):
    model = make_model(variant="full_finetune")
    assert all(parameter.requires_grad for parameter in model.parameters())
    everything = {name for name, _ in model.named_parameters()}
    active = {dataset: {name for name, _ in model.active_parameters(dataset)} for dataset in model.routing.datasets}
    assert set().union(*active.values()) == everything
    # Images and volumes enter by ways of their own.
    embeds_images = {name for name in everything if name.startswith(("backbone.patch_embed", "backbone.pos_embed"))}
    embeds_volumes = {name for name in everything if name.startswith("tokenizers_3d")}
    assert active["retinamnist"] & (embeds_images | embeds_volumes) == embeds_images
    assert active["nodulemnist3d"] & (embeds_images | embeds_volumes) == embeds_volumes


def test_a_backbone_that_trains_stays_in_fp32(make_model):
    frozen = make_model(compute__precision="bf16").backbone
    trained = make_model(variant="full_finetune", compute__precision="bf16").backbone
    assert {parameter.dtype for parameter in frozen.parameters()} == {torch.float32, torch.bfloat16}
    assert {parameter.dtype for parameter in trained.parameters()} == {torch.float32}


def test_what_is_not_trained_of_the_released_variant(make_model):
    model = make_model(variant="released")
    frozen = {name.split(".")[0] for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {"backbone", "tokenizers_3d", "embedding_norms"}
    assert not any(name.startswith("tokenizers_3d") for name in model.trainable_state())


def test_the_embedding_norm_stands_between_patches_and_positions(make_model, make_backbone):
    model, vit, images = make_model(model__embedding_norm=True), make_backbone(), torch.randn(2, 3, 32, 32)
    patches = nn.functional.layer_norm(vit.patch_embed(images), (24,))
    tokens = torch.cat([vit.cls_token.expand(2, -1, -1), patches], dim=1) + vit.pos_embed
    torch.testing.assert_close(model.embed(images, "retinamnist"), tokens)


def test_the_layer_norm_of_the_public_code_stands_in_front_of_the_bottleneck(make_model):
    model = make_model(adapter__layer_norm=True)
    bottleneck, h = model.specialists["A"][0], 5 + 3 * torch.randn(2, 4, 24)
    nn.init.normal_(bottleneck.up.weight)
    expected = 0.1 * bottleneck.up(torch.relu(bottleneck.down(nn.functional.layer_norm(h, (24,)))))
    torch.testing.assert_close(bottleneck.beside_mlp(h), expected)


@pytest.fixture
def inflated(make_backbone) -> tuple[VolumeTokenizer, nn.Module]:
    vit = make_backbone()
    tokenizer = VolumeTokenizer(24, 32, 8, 1, torch.Generator().manual_seed(0))
    inflate(tokenizer, vit)
    return tokenizer, vit


@pytest.mark.parametrize("value", [-1.0, 0.25])
def test_an_inflated_tokenizer_gives_a_flat_volume_the_tokens_of_a_flat_image(inflated, value):
    tokenizer, vit = inflated
    flat = tokenizer(torch.full((1, 1, 32, 32, 32), value))
    torch.testing.assert_close(flat[0, 0], vit.patch_embed(torch.full((1, 3, 32, 32), value))[0, 0])
    assert torch.allclose(flat, flat[:, :1])


def test_an_inflated_kernel_is_the_same_at_every_depth_and_keeps_the_shape_of_the_2d_one(inflated):
    tokenizer, vit = inflated
    kernel = tokenizer.projection.weight
    assert torch.equal(kernel, kernel[:, :, :1].expand_as(kernel))
    means = vit.patch_embed.proj.weight.mean(dim=1).unfold(1, 2, 2).unfold(2, 2, 2).mean(dim=(-1, -2))
    torch.testing.assert_close(kernel[:, 0, 0], means * (3 * 16 * 16 / 8**3))


@pytest.mark.parametrize(("patch", "volume_patch"), [(16, 8), (14, 8), (14, 4), (14, 7), (16, 6), (4, 6)])
@pytest.mark.parametrize("sums_to", [None, 0.0])
def test_a_flat_volume_has_the_tokens_of_a_flat_image_whatever_the_two_sizes_of_patches(patch, volume_patch, sums_to):
    vit = VisionTransformer(patch, patch, embed_dim=12, depth=1, num_heads=1, num_classes=0)
    kernel = vit.patch_embed.proj.weight
    kernel.data = torch.randn(kernel.shape, generator=torch.Generator().manual_seed(patch))
    if sums_to is not None:
        kernel.data -= kernel.mean(dim=(1, 2, 3), keepdim=True)
    side = 2 * volume_patch
    tokenizer = VolumeTokenizer(12, side, volume_patch, 1, torch.Generator().manual_seed(0))
    inflate(tokenizer, vit)
    flat = tokenizer(torch.full((1, 1, side, side, side), 0.25))[0, 0]
    torch.testing.assert_close(
        flat, vit.patch_embed(torch.full((1, 3, patch, patch), 0.25))[0, 0], rtol=1e-4, atol=1e-4
    )


def test_each_pixel_of_a_kernel_counts_by_the_area_that_it_shares_with_a_voxel():
    """Independent of any resizing: each pixel cut into 2 x 2, so that 3 pixels are 6, of which each voxel takes 3."""
    vit = VisionTransformer(3, 3, embed_dim=2, depth=1, num_heads=1, num_classes=0)
    tokenizer = VolumeTokenizer(2, 4, 2, 1, torch.Generator().manual_seed(0))
    inflate(tokenizer, vit)
    cut = vit.patch_embed.proj.weight.mean(dim=1).repeat_interleave(2, 1).repeat_interleave(2, 2)
    means = cut.unfold(1, 3, 3).unfold(2, 3, 3).mean(dim=(-1, -2))
    torch.testing.assert_close(tokenizer.projection.weight[:, 0, 0], means * (3 * 3**2 / 2**3))


def test_inflated_positions_are_those_of_2d_at_every_depth(inflated):
    tokenizer, vit = inflated
    positions = tokenizer.positions
    torch.testing.assert_close(positions[:, 0], vit.pos_embed[:, 0])
    by_depth = positions[0, 1:].unflatten(0, (4, 16))
    assert torch.equal(by_depth, by_depth[:1].expand_as(by_depth))
    # 2 x 2 positions of the image resized to 4 x 4: the corners stay.
    corners = by_depth[0].unflatten(0, (4, 4))[::3, ::3].flatten(0, 1)
    torch.testing.assert_close(corners, vit.pos_embed[0, 1:])


def test_inflation_is_chosen_by_its_parameter(make_model, make_backbone):
    model, vit = make_model(tokenizer_3d__init="inflate"), make_backbone()
    torch.testing.assert_close(model.tokenizers_3d["shared"].positions[:, 0], vit.pos_embed[:, 0])
    assert not torch.allclose(make_model().tokenizers_3d["shared"].positions[:, 0], vit.pos_embed[:, 0])


@pytest.mark.parametrize("name", ["half", "imagenet", "clip"])
@pytest.mark.parametrize("gray", [0.0, 0.3, 1.0])
def test_an_inflated_tokenizer_sees_a_volume_of_one_gray_as_the_vit_sees_that_image(make_backbone, name, gray):
    vit, tokenizer = make_backbone(), VolumeTokenizer(24, 32, 8, 1, torch.Generator().manual_seed(0))
    inflate(tokenizer, vit, STATISTICS[name])
    volume, image = torch.full((1, 1, 32, 32, 32), gray), torch.full((1, 1, 32, 32), gray)
    expected = vit.patch_embed(normalise(image, STATISTICS[name]))[0, 0]
    torch.testing.assert_close(tokenizer(normalise(volume))[0, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["volume", "slices"])
def test_mean_and_std_that_came_with_the_weights_are_what_auto_means(make_config, make_backbone, kind):
    own = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    settings = {"tokenizer_3d__kind": kind, "tokenizer_3d__init": "inflate"}
    vit, named = make_backbone(), make_config(model__normalisation="clip", **settings)
    vit.statistics = own
    model = build_mosaic(make_config(model__normalisation="auto", **settings), vit, seed=0)
    assert model.statistics == own
    vit.statistics = STATISTICS["clip"]
    volumes = torch.randn(2, 1, 16, 16, 16)
    features = [
        build_mosaic(config, vit, seed=0)(volumes, "nodulemnist3d")[0]
        for config in (named, make_config(model__normalisation="auto", **settings))
    ]
    assert torch.equal(*features)
    assert not torch.allclose(model(volumes, "nodulemnist3d")[0], features[0], atol=1e-4)
