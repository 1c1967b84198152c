"""MOSAIC on every kind of VisionTransformer: before training it is the model that timm computes."""

import pytest
import torch
from timm import create_model
from torch import nn

from mosaic_pipeline.model.backbone import oddity
from mosaic_pipeline.model.mosaic import build_mosaic

SMALL = {"embed_dim": 24, "depth": 2, "num_heads": 2, "img_size": 32, "num_classes": 0}
# By what they have beside ViT-S/16: each was built small.
FAMILIES = {
    "vit_small_patch16_224": {},
    "deit3_small_patch16_224": {},  # layer scale, no position of the class token
    "deit_small_distilled_patch16_224": {},  # two tokens before the patches
    "vit_small_patch14_dinov2": {"patch_size": 16},  # layer scale
    "vit_small_patch14_reg4_dinov2": {"patch_size": 16},  # registers without positions
    "vit_giant_patch14_dinov2": {"patch_size": 16, "mlp_ratio": 4},  # SwiGLU
    # Its own patches, at 28 and 42 px: 4 and 9 of them.
    "vit_small_patch14_dinov2 at 28": {"img_size": 28},
    "vit_small_patch14_reg4_dinov2 at 42": {"img_size": 42},
    "vit_base_patch16_clip_quickgelu_224": {},  # a norm before the blocks, no bias of patches
    "vit_base_patch16_radio_v3": {},  # no norm at the end, seven prefix tokens
    "beit3_base_patch16_224": {"global_pool": "token", "fc_norm": False},  # norms inside attention and MLP
    "vit_small_patch16_224 qk_norm": {"qk_norm": True, "norm_layer": "rmsnorm", "act_layer": "silu"},
    "vit_small_patch16_224 registers with positions": {"reg_tokens": 3, "init_values": 0.1},
}


def build(family: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vit = create_model(family.split()[0], **SMALL | FAMILIES[family])
        for parameter in vit.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return vit.eval()


def images_for(vit: nn.Module) -> torch.Tensor:
    return torch.randn(3, 3, *vit.patch_embed.img_size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=FAMILIES)
def vit(request) -> nn.Module:
    vit = build(request.param)
    assert oddity(vit) is None
    return vit


VARIANTS = ("mosaic", "lora_joint_r8", "prompt_from_zero", "linear_probe", "gated", "full_finetune")


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_untrained_model_gives_timms_class_token(make_config, vit, variant):
    images = images_for(vit)
    expected = vit.forward_features(images)[:, 0]
    model = build_mosaic(make_config(variant=variant), vit, seed=0)
    torch.testing.assert_close(model(images, "retinamnist")[0], expected, rtol=1e-4, atol=1e-5)


def test_volumes_have_patches_like_images_and_positions_for_every_token_before_them(make_config, vit):
    model = build_mosaic(make_config(tokenizer_3d__init="inflate"), vit, seed=0)
    volumes = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    positions = model.tokenizers_3d["shared"].positions
    assert positions.shape[1] == vit.num_prefix_tokens + 2**3
    own = vit.pos_embed[:, : vit.pos_embed.shape[1] - vit.patch_embed.num_patches]
    copied = positions[:, : vit.num_prefix_tokens]
    torch.testing.assert_close(copied, own if own.shape[1] else torch.zeros_like(copied))
    of_volume = model.tokenizers_3d["shared"](torch.full((1, 1, 16, 16, 16), 0.25))[0, 0]
    of_image = vit.patch_embed(torch.full((1, 3, *vit.patch_embed.img_size), 0.25))[0, 0]
    torch.testing.assert_close(of_volume, of_image, rtol=1e-4, atol=1e-5)
    feature, _ = model(volumes, "nodulemnist3d")
    assert feature.isfinite().all()


def test_what_is_trained_of_a_whole_vit_is_all_that_a_dataset_uses(make_config, vit):
    model = build_mosaic(make_config(variant="full_finetune"), vit, seed=0)
    for name in ("retinamnist", "nodulemnist3d"):
        images = images_for(vit) if name == "retinamnist" else torch.randn(2, 1, 16, 16, 16)
        feature, logits = model(images, name)
        model.zero_grad()
        (feature.square().sum() + logits.square().sum()).backward()
        moved = {key for key, parameter in model.named_parameters() if parameter.grad is not None}
        assert moved == {key for key, _ in model.active_parameters(name)}


def test_a_specialist_stands_beside_the_scaled_mlp_and_is_not_scaled_itself(make_config):
    vit, images = build("vit_small_patch14_dinov2"), torch.randn(3, 3, 32, 32)
    model = build_mosaic(make_config(), vit, seed=0)
    for parameter in model.specialists["A"].parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    x = torch.cat([vit.cls_token.expand(3, -1, -1), vit.patch_embed(images)], dim=1) + vit.pos_embed
    for block, bottleneck in zip(vit.blocks, model.specialists["A"], strict=True):
        x = x + block.attn(block.norm1(x)) * block.ls1.gamma
        h = block.norm2(x)
        x = x + block.mlp(h) * block.ls2.gamma + bottleneck.beside_mlp(h)
    torch.testing.assert_close(model(images, "retinamnist")[0], vit.norm(x)[:, 0], rtol=1e-4, atol=1e-5)


def stirred(model: nn.Module) -> nn.Module:
    """Give every specialist values that do something."""
    generator = torch.Generator().manual_seed(2)
    for parameter in model.specialists.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return model


def heads(x: torch.Tensor) -> torch.Tensor:
    return x.unflatten(-1, (2, 12)).transpose(1, 2)


@pytest.mark.parametrize("variant", ["lora_joint_r8", "prompt_joint"])
def test_lora_and_prompts_stand_before_the_norms_of_queries_and_keys_and_within_the_layer_scale(make_config, variant):
    vit = create_model("vit_small_patch16_224", **SMALL, qk_norm=True, scale_attn_norm=True, init_values=0.5).eval()
    for parameter in vit.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    model = stirred(build_mosaic(make_config(variant=variant), vit, seed=0))
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    (specialist,) = model.specialists.values()
    x = torch.cat([vit.cls_token.expand(3, -1, -1), vit.patch_embed(images)], dim=1) + vit.pos_embed
    for block, adapter in zip(vit.blocks, specialist, strict=True):
        u, attention = block.norm1(x), block.attn
        q, k, v = attention.qkv(u).chunk(3, dim=-1)
        if variant == "lora_joint_r8":
            q, v = q + adapter.query_value(u)[0], v + adapter.query_value(u)[1]
        else:
            prompts = block.norm1(adapter.tokens).expand(3, -1, -1)
            _, more_k, more_v = attention.qkv(prompts).chunk(3, dim=-1)
            k, v = torch.cat([k, more_k], dim=1), torch.cat([v, more_v], dim=1)
        weights = attention.q_norm(heads(q)) @ attention.k_norm(heads(k)).transpose(-1, -2) / 12**0.5
        y = (weights.softmax(-1) @ heads(v)).transpose(1, 2).flatten(2)
        x = x + attention.proj(attention.norm(y)) * block.ls1.gamma
        x = x + block.mlp(block.norm2(x)) * block.ls2.gamma
    torch.testing.assert_close(model(images, "retinamnist")[0], vit.norm(x)[:, 0], rtol=1e-4, atol=1e-5)
