import socket

import pytest
import torch
from timm.models.vision_transformer import ResPostBlock, VisionTransformer

from pipeline.errors import PipelineError
from pipeline.model.backbone import build_backbone


def test_a_backbone_has_the_positions_of_its_image_size_and_no_head():
    model = build_backbone("test_vit", 16, 64)
    assert isinstance(model, VisionTransformer)
    assert model.pos_embed.shape[1] == 1 + 4 * 4
    assert isinstance(model.head, torch.nn.Identity)


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


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224", "hf_hub:timm/vit_tiny_patch16_224"])
def test_a_model_that_is_no_vision_transformer_of_timm_is_refused(name):
    with pytest.raises(PipelineError, match=f"{name} is not a VisionTransformer of timm"):
        build_backbone(name, 16, 32)


def test_a_name_with_the_tag_of_pretrained_weights_is_refused_because_they_would_not_be_loaded():
    with pytest.raises(PipelineError, match=r"use vit_tiny_patch16_224; .*model\.weights"):
        build_backbone("vit_tiny_patch16_224.augreg_in21k", 16, 32)


@pytest.mark.parametrize(
    "name",
    [
        "test_vit2",  # layer scale, a register, average pooling
        "vit_base_patch16_clip_224",  # a norm before the blocks
        "vit_base_patch16_gap_224",  # no class token
        "vit_base_patch16_rpn_224",  # norms after the residual branches
        "vit_small_patch16_18x2_224",  # parallel blocks
    ],
)
def test_a_vit_that_googles_layout_cannot_fill_is_refused(name):
    with pytest.raises(PipelineError, match=f"{name} is not a plain ViT"):
        build_backbone(name, 16, 224, device="meta")


@pytest.mark.parametrize("oddity", [{"block_fn": ResPostBlock}, {"no_embed_class": True}], ids=str)
def test_a_vit_that_differs_in_more_than_names_of_parameters_is_refused(monkeypatch, oddity):
    odd = VisionTransformer(32, 16, embed_dim=8, depth=1, num_heads=1, num_classes=0, **oddity)
    monkeypatch.setattr("pipeline.model.backbone.create_model", lambda *_, **__: odd)
    with pytest.raises(PipelineError, match="test_vit is not a plain ViT"):
        build_backbone("test_vit", 16, 32)


def test_another_patch_size_than_the_backbones_is_refused_saying_expected_and_found():
    with pytest.raises(PipelineError, match=r"model\.patch_size: test_vit has patches of 16 pixels, expected 8"):
        build_backbone("test_vit", 8, 32)
