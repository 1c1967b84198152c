"""The backbone: a plain VisionTransformer of timm."""

import difflib

import torch

from pipeline.errors import PipelineError
from pipeline.model.vit import Block, VisionTransformer, create_model, list_models

_STEM = ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias", "norm.weight", "norm.bias")
_BLOCK_LAYERS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")


def build_backbone(
    backbone: str, patch_size: int, image_size: int, device: str | torch.device = "cpu"
) -> VisionTransformer:
    """Create a ViT without head, for 2D images of `image_size` pixels a side; its weights are timm's random ones.

    Offline. Raises PipelineError if timm has no such VisionTransformer, if it is not a plain one (class token,
    pre-norm blocks, and no parameter beyond those of arXiv:2010.11929), or if its patches are of another size.
    """
    _check_name(backbone)
    options = {"num_classes": 0, "img_size": image_size}
    # Images are always of that size; a model that takes any would hand its tokens on in two dimensions.
    options["dynamic_img_size"] = False
    if torch.device(device).type == "meta":
        # There is nothing to initialise, and torch would import its compiler for it.
        options["weight_init"] = "skip"
    model = create_model(backbone, pretrained=False, device=device, **options)
    if not _is_plain(model):
        raise PipelineError(
            f"model.backbone: {backbone} is not a plain ViT (class token, pre-norm blocks without extras); "
            "use one such as vit_base_patch16_224"
        )
    (found, _) = model.patch_embed.patch_size
    if found != patch_size:
        raise PipelineError(f"model.patch_size: {backbone} has patches of {found} pixels, expected {patch_size}")
    return model


def _check_name(backbone: str) -> None:
    known = list_models(module="vision_transformer")
    if backbone in known:
        return
    untagged = backbone.partition(".")[0]
    if untagged in known:
        raise PipelineError(f"model.backbone: {backbone}: use {untagged}; where weights come from is model.weights")
    close = difflib.get_close_matches(backbone, known)
    hint = f"did you mean {' or '.join(close)}?" if close else "a plain one is vit_base_patch16_224"
    raise PipelineError(f"model.backbone: {backbone} is not a VisionTransformer of timm; {hint}")


def _is_plain(model: VisionTransformer) -> bool:
    layers = [f"blocks.{i}.{layer}" for i in range(len(model.blocks)) for layer in _BLOCK_LAYERS]
    names = {*_STEM, *(f"{layer}.{part}" for layer in layers for part in ("weight", "bias"))}
    return (
        model.state_dict().keys() == names
        and all(type(block) is Block for block in model.blocks)
        and model.pos_embed.shape[1] == model.patch_embed.num_patches + 1
    )
