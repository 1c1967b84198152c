"""The backbone: a VisionTransformer of timm with a class token."""

import difflib
import sys
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.model.vit import (
    Attention,
    Block,
    GluMlp,
    Mlp,
    PatchEmbed,
    SwiGLU,
    SwiGLUPacked,
    VisionTransformer,
    VisionTransformerDistilled,
    create_model,
    is_model,
    list_models,
    model_entrypoint,
)

# Those of timm that map each token by itself.
MLP_LAYERS = {"Mlp": Mlp, "GluMlp": GluMlp, "SwiGLU": SwiGLU, "SwiGLUPacked": SwiGLUPacked}


def build_backbone(
    backbone: str,
    patch_size: int,
    image_size: int,
    device: str | torch.device = "cpu",
    backbone_args: Mapping[str, Any] | None = None,
) -> VisionTransformer:
    """Create a ViT without head, for 2D images of `image_size` pixels a side; its weights are timm's random ones.

    `backbone_args` are those of timm's VisionTransformer that differ from the named model's.

    Offline. Its class token is read after the final norm, whatever timm's own model pools. Raises PipelineError if
    timm has no such VisionTransformer, if `oddity` finds what MOSAIC's blocks do not compute, or if its patches are of
    another size.
    """
    _check_name(backbone)
    options = {"num_classes": 0, "img_size": image_size} | dict(backbone_args or {})
    if "mlp_layer" in options:
        if options["mlp_layer"].startswith("SwiGLU"):
            options.setdefault("act_layer", "silu")  # timm's blocks would hand on their GELU
        options["mlp_layer"] = MLP_LAYERS[options["mlp_layer"]]
    # Images are always of that size; a model that takes any would hand its tokens on in two dimensions.
    options["dynamic_img_size"] = False
    if torch.device(device).type == "meta":
        # There is nothing to initialise, and torch would import its compiler for it.
        options["weight_init"] = "skip"
    try:
        model = _create(backbone, device, options)
    except (AssertionError, KeyError, TypeError, ValueError, RuntimeError) as error:
        given = f" with {dict(backbone_args)}" if backbone_args else ""
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PipelineError(
            f"model.backbone: timm cannot build {backbone} at {image_size} px{given} ({reason}); change model.backbone"
            f"{' or model.backbone_args' if backbone_args else ''}"
        ) from None
    if problem := oddity(model):
        raise PipelineError(
            f"model.backbone: {backbone} {problem}; use a VisionTransformer with a class token, such as "
            "vit_base_patch16_224 or vit_small_patch14_dinov2"
        )
    if model.global_pool != "token":
        # Pooling the other tokens moves the final norm behind it.
        model = _create(backbone, device, options | {"global_pool": "token", "fc_norm": False})
    (found, _) = model.patch_embed.patch_size
    if found != patch_size:
        raise PipelineError(f"model.patch_size: {backbone} has patches of {found} pixels, expected {patch_size}")
    return model


def _create(backbone: str, device: str | torch.device, options: dict[str, Any]) -> VisionTransformer:
    # `_check_name` has seen that it is one.
    return cast("VisionTransformer", create_model(backbone, pretrained=False, device=device, **options))


def family(model: VisionTransformer) -> str:
    """Describe a model by what sets it apart from a plain ViT."""
    block = model.blocks[0]
    parts = {
        "layer scale": not isinstance(block.ls1, nn.Identity),
        "distillation token": hasattr(model, "dist_token"),
        f"{model.num_reg_tokens} register{'s' * (model.num_reg_tokens > 1)}": model.num_reg_tokens > 0,
        "no class position": model.pos_embed.shape[1] == model.patch_embed.num_patches,
        "a norm before the blocks": not isinstance(model.norm_pre, nn.Identity),
        "no norm after them": isinstance(model.norm, nn.Identity),
        "normalised queries and keys": not isinstance(block.attn.q_norm, nn.Identity),
        "a norm within attention": not isinstance(block.attn.norm, nn.Identity),
        f"{type(block.norm1).__name__}s": not isinstance(block.norm1, nn.LayerNorm),
        f"{type(block.mlp).__name__} with {type(block.mlp.act).__name__}": (type(block.mlp), type(block.mlp.act))
        != (Mlp, nn.GELU),
    }
    apart = [part for part, holds in parts.items() if holds]
    return ", ".join(apart) or "plain ViT"


def oddity(model: VisionTransformer) -> str | None:
    """Say which property of a model is in the way, if any: "has no class token"."""
    if type(model) not in (VisionTransformer, VisionTransformerDistilled):
        return f"is a {type(model).__name__}, which computes otherwise than timm's VisionTransformer"
    if model.cls_token is None:
        return "has no class token"
    if model.pos_embed is None:
        return "has no positions of its own"
    if type(model.patch_embed) is not PatchEmbed:
        return f"makes its tokens by a {type(model.patch_embed).__name__}, not from patches"
    if not isinstance(model.patch_embed.norm, nn.Identity):
        return "normalises its patches before their positions"
    if model.patch_embed.proj.in_channels != 3:
        return f"takes images of {model.patch_embed.proj.in_channels} channels, not of 3"
    if len(set(model.patch_embed.patch_size)) > 1:
        return "has patches that are not square"
    for block in model.blocks:
        if type(block) is not Block:
            return f"is made of {type(block).__name__}s, not of blocks that normalise, attend, normalise and map"
        if type(block.attn) is not Attention:
            return f"attends by {type(block.attn).__name__}"
        if block.attn.gate is not None:
            return "has gated attention"
    return None


def _check_name(backbone: str) -> None:
    untagged, _, tag = backbone.partition(".")
    if not is_model(untagged):
        close = difflib.get_close_matches(untagged, list_models())
        hint = f"did you mean {' or '.join(close)}?" if close else "one is vit_base_patch16_224"
        raise PipelineError(f"model.backbone: {backbone} is no model of timm; {hint}")
    module = sys.modules[model_entrypoint(untagged).__module__]
    if getattr(module, "VisionTransformer", None) is not VisionTransformer:
        kind = module.__name__.rpartition(".")[2]
        raise PipelineError(
            f"model.backbone: {backbone} is timm's {kind}, not its VisionTransformer; one is vit_base_patch16_224"
        )
    if tag:
        raise PipelineError(f"model.backbone: {backbone}: use {untagged}; where weights come from is model.weights")
