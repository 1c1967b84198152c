"""What a repository says of its model in config.json, held against the model that was built.

Names and shapes of tensors decide nearly all of it, and they are held against the model when they are read. They do
not show how many heads there are, nor the activation, nor the epsilon of norms.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.model.vit import Mlp, VisionTransformer
from mosaic_pipeline.params import BackboneArgs

# Hugging Face's names of activations; timm's name, and what it computes.
_ACTIVATIONS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "gelu": ("gelu", F.gelu),
    **dict.fromkeys(
        ("gelu_new", "gelu_fast", "gelu_pytorch_tanh"), ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"))
    ),
    "quick_gelu": ("quick_gelu", lambda x: x * torch.sigmoid(1.702 * x)),
    **dict.fromkeys(("silu", "swish"), ("silu", F.silu)),
    "relu": ("relu", F.relu),
}
_GRID = torch.linspace(-4, 4, 65)


def check(name: str, said: Any, model: VisionTransformer, architecture: str, arguments: Mapping[str, Any]) -> bool:
    """Return whether `said`, a config.json, tells of heads and activation what tensors do not.

    `name` begins an error; `architecture` and `arguments` are those that the model was built by. Raises PipelineError
    if a model of that description would compute otherwise than this one.
    """
    if not isinstance(said, dict):
        return False
    found = said.get("architecture")
    if not isinstance(found, str):
        return _check_hugging_faces(name, said, model, architecture)
    if found != architecture:
        raise PipelineError(f"{name}: weights of {found}, but model.backbone is {architecture}; they must agree")
    _check_arguments(name, said, model, architecture, arguments)
    return True


def _check_arguments(
    name: str, said: dict[str, Any], model: VisionTransformer, architecture: str, arguments: Mapping[str, Any]
) -> None:
    """Hold timm's arguments in a repository against the model; what only its author's own code says is not there."""
    inner = said.get("model_args")
    theirs = dict(arguments)
    for key, value in (said | (inner if isinstance(inner, dict) else {})).items():
        if key in BackboneArgs.model_fields:
            with suppress(ValidationError):  # a class by its name, or 0 registers: tensors will tell
                theirs |= BackboneArgs.model_validate({key: value}).given()
    if theirs == dict(arguments):
        return
    (patch, _), (size, _) = model.patch_embed.patch_size, model.patch_embed.img_size
    try:
        described = build_backbone(architecture, patch, size, "meta", theirs)
    except PipelineError:
        return  # not for us to judge: tensors will tell
    if _function(described) != _function(model):
        way_out = ", ".join(f"{key}: {json.dumps(value)}" for key, value in theirs.items())
        raise PipelineError(
            f"{name}: weights of {architecture} with other arguments; model.backbone_args must be {{{way_out}}}"
        )


def _function(model: VisionTransformer) -> tuple[Any, ...]:
    """Return what decides what a model computes, but for its values."""
    block = model.blocks[0]
    mlp, norm = block.mlp, block.norm1
    return (
        {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()},
        block.attn.num_heads,
        *(type(mlp), getattr(mlp, "gate_last", None), mlp.act(_GRID).tolist()),
        *(type(norm), getattr(norm, "eps", None)),
    )


def _check_hugging_faces(name: str, said: dict[str, Any], model: VisionTransformer, architecture: str) -> bool:
    """Hold what transformers' configurations say against the model; of several towers that of images."""
    inner = said.get("vision_config")
    tree = inner if isinstance(inner, dict) else said
    heads, activation, eps = (tree.get(key) for key in ("num_attention_heads", "hidden_act", "layer_norm_eps"))
    block, says = model.blocks[0], f"{name}: its config.json says"
    own = block.attn.num_heads
    if isinstance(heads, int) and heads != own:
        raise PipelineError(
            f"{says} num_attention_heads {heads}, but {architecture} has {own}; model.backbone_args.num_heads must be "
            f"{heads}"
        )
    known = _ACTIVATIONS.get(activation) if isinstance(activation, str) else None
    # Where the MLP is gated its activation is fixed, whatever stands there.
    if known and type(block.mlp) is Mlp and not _alike(block.mlp.act, known[1]):
        raise PipelineError(
            f"{says} hidden_act {activation}, but {architecture} computes {type(block.mlp.act).__name__}; "
            f"model.backbone_args.act_layer must be {known[0]}"
        )
    epsilon = getattr(block.norm1, "eps", None)
    # Up to 1e-6 it does not count beside the variance of any token: transformers' ViT has 1e-12, timm's 1e-6.
    if isinstance(eps, float) and epsilon is not None and max(eps, 1e-6) != max(epsilon, 1e-6):
        raise PipelineError(
            f"{says} layer_norm_eps {eps:g}, but {architecture} has {epsilon:g}; model.backbone must be a model of "
            "timm's whose norms have it, as those with clip in their names have 1e-05"
        )
    return isinstance(heads, int) and known is not None


def _alike(activation: nn.Module, other: Callable[[Tensor], Tensor]) -> bool:
    """Whether two activations are the same; GELU and its approximation by tanh are taken for each other."""
    return bool((activation(_GRID) - other(_GRID)).abs().max() < 1e-3)
