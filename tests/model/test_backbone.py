import socket

import pytest
import torch
from timm.layers import Attention, DiffAttention
from timm.models.vision_transformer import ResPostBlock, VisionTransformer

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.model.backbone import build_backbone


def test_a_backbone_has_the_positions_of_its_image_size_and_no_head():
    model = build_backbone("test_vit", 16, 64)
    assert isinstance(model, VisionTransformer)
    assert model.pos_embed.shape[1] == 1 + 4 * 4
    assert isinstance(model.head, torch.nn.Identity)


def test_the_final_norm_stands_before_pooling_also_where_timm_pools_first():
    model = build_backbone(
        "beit3_base_patch16_224", 16, 32, backbone_args={"depth": 1, "embed_dim": 12, "num_heads": 2}
    )
    assert isinstance(model.norm, torch.nn.LayerNorm)
    assert isinstance(model.fc_norm, torch.nn.Identity)
    assert model.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 5, 12)


def test_building_opens_no_connection(monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    build_backbone("test_vit", 16, 32)


def test_an_unknown_name_is_refused_with_close_matches():
    with pytest.raises(
        PipelineError, match=r"^model\.backbone: vit_tny_patch16_224 .*did you mean .*vit_tiny_patch16_224"
    ):
        build_backbone("vit_tny_patch16_224", 16, 32)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet18", "resnet18 is timm's resnet, not its VisionTransformer"),
        ("swin_tiny_patch4_window7_224", "is timm's swin_transformer, not its VisionTransformer"),
        ("vit_small_patch16_dinov3", "is timm's eva, not its VisionTransformer"),
        ("hf_hub:timm/vit_tiny_patch16_224", "is no model of timm"),
    ],
)
def test_a_model_that_is_no_vision_transformer_of_timm_is_refused(name, said):
    with pytest.raises(PipelineError, match=f"^model.backbone: {name}.*{said.partition(' ')[2]}; "):
        build_backbone(name, 16, 32)


def test_a_name_with_the_tag_of_pretrained_weights_is_refused_because_they_would_not_be_loaded():
    with pytest.raises(PipelineError, match=r"use vit_tiny_patch16_224; .*model\.weights"):
        build_backbone("vit_tiny_patch16_224.augreg_in21k", 16, 32)


@pytest.mark.parametrize(
    ("name", "property_in_the_way"),
    [
        ("vit_base_patch16_gap_224", "has no class token"),
        ("vit_base_patch16_siglip_224", "has no class token"),
        ("vit_base_r50_s16_224", "makes its tokens by a HybridEmbed, not from patches"),
        ("vit_small_patch16_18x2_224", "is made of ParallelThingsBlocks, not of blocks that"),
        ("vit_base_patch16_xp_224", "is made of ParallelScalingBlocks, not of blocks that"),
    ],
)
def test_a_vit_that_the_blocks_here_do_not_compute_is_refused_saying_which_property_is_in_the_way(
    name, property_in_the_way
):
    with pytest.raises(PipelineError, match=f"^model.backbone: {name} {property_in_the_way}[^\n]*; use a Vision"):
        build_backbone(name, 16, 224, device="meta")


class _Windowed(VisionTransformer):
    pass


def _gated(vit: VisionTransformer) -> VisionTransformer:
    vit.blocks[0].attn = Attention(8, num_heads=1, gated=True)
    return vit


@pytest.mark.parametrize(
    ("made", "property_in_the_way"),
    [
        (lambda **sizes: _Windowed(**sizes), "is a _Windowed, which computes otherwise"),
        (lambda **sizes: VisionTransformer(**sizes, block_fn=ResPostBlock), "is made of ResPostBlocks"),
        (lambda **sizes: VisionTransformer(**sizes, attn_layer=DiffAttention), "attends by DiffAttention"),
        (lambda **sizes: _gated(VisionTransformer(**sizes)), "has gated attention"),
        (lambda **sizes: VisionTransformer(**sizes, pos_embed="none"), "has no positions of its own"),
        (lambda **sizes: VisionTransformer(**sizes, embed_norm_layer="layernorm"), "normalises its patches"),
        (lambda **sizes: VisionTransformer(**sizes, in_chans=1), "takes images of 1 channels"),
        (lambda **sizes: VisionTransformer(**sizes | {"patch_size": (16, 8)}), "has patches that are not square"),
    ],
)
def test_what_differs_in_more_than_its_sizes_is_refused(monkeypatch, made, property_in_the_way):
    odd = made(img_size=32, patch_size=16, embed_dim=8, depth=1, num_heads=1, num_classes=0)
    monkeypatch.setattr("mosaic_pipeline.model.backbone.create_model", lambda *_, **__: odd)
    with pytest.raises(PipelineError, match=f"^model.backbone: test_vit {property_in_the_way}"):
        build_backbone("test_vit", 16, 32)


def test_another_patch_size_than_the_backbones_is_refused_saying_expected_and_found():
    with pytest.raises(PipelineError, match=r"model\.patch_size: test_vit has patches of 16 pixels, expected 8"):
        build_backbone("test_vit", 8, 32)


@pytest.mark.parametrize("layer", ["SwiGLU", "SwiGLUPacked"])
def test_a_swiglu_has_the_activation_that_it_is_called_by_unless_another_is_given(layer):
    (given, otherwise) = ({"mlp_layer": layer}, {"mlp_layer": layer, "act_layer": "gelu"})
    acts = [build_backbone("test_vit", 16, 32, "meta", each).blocks[0].mlp.act for each in (given, otherwise)]
    assert isinstance(acts[0], torch.nn.SiLU)
    assert not isinstance(acts[1], torch.nn.SiLU)
