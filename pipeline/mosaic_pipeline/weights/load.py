"""The backbone of weights/backbone.safetensors, as every later stage gets it."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from mosaic_pipeline.config import Architecture
from mosaic_pipeline.data.augment import HALF, STATISTICS, Statistics
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.model.vit import VisionTransformer
from mosaic_pipeline.weights.random import fill_randomly

PROVENANCE = "provenance"


def load_backbone(path: Path, architecture: Architecture) -> VisionTransformer:
    """Build the ViT and fill it from what the weights stage wrote, or with what it writes without model.weights.

    Raises PipelineError if there is no such file, if it is damaged, or if it holds another backbone.
    """
    provenance = read_provenance(path)
    expected = {key: getattr(architecture, key) for key in ("backbone", "patch_size", "image_size")}
    if architecture.backbone_args:
        expected["backbone_args"] = architecture.backbone_args.given()
    found = {key: provenance.get(key) for key in (*expected, "backbone_args") if key in provenance}
    if found != expected:
        raise PipelineError(
            f"{path}: holds {_describe(found)}, expected {_describe(expected)}; `dvc repro weights` writes the one of "
            "params.yaml, which all variants share"
        )
    # Built without storage, unless it stays random: such weights would only be overwritten.
    model = build_backbone(**expected, device="cpu" if architecture.pretrained is False else "meta")
    if architecture.normalisation == "auto":
        model.statistics = known_statistics(provenance)
    if architecture.pretrained is False:
        return fill_randomly(model, architecture.backbone)
    try:
        model.load_state_dict(read_tensors(path), assign=True)
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        raise PipelineError(f"{path}: {' '.join(str(error).split())}; `dvc repro weights` writes it anew") from None
    return model


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file. Raises SafetensorError, OSError, and ValueError for values that are no weights."""
    tensors = load_file(path)
    _check_values(tensors)
    # Copies, because the file's tensors lie in memory as in the file, where products are slower.
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _check_values(tensors: dict[str, Tensor]) -> None:
    """Raise ValueError for what torch would take over silently."""
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            raise ValueError(f"{name} holds {tensor.dtype}, expected torch.float32")
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds values that are not finite")


def read_provenance(path: Path) -> dict[str, Any]:
    """Return backbone, patch_size, image_size, source, sha256 and what else the weights stage noted.

    Raises PipelineError if there is no such file or if it is none of that stage.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(json.loads((file.metadata() or {})[PROVENANCE]))
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file; `dvc repro weights` writes it") from None
    except (SafetensorError, KeyError, TypeError, ValueError, OSError):
        raise PipelineError(f"{path}: not a file of the weights stage; `dvc repro weights` writes it") from None


def known_statistics(provenance: dict[str, Any]) -> Statistics:
    """Return mean and std that the weights were trained by, for random ones 0.5.

    Raises PipelineError if their source does not say.
    """
    if provenance.get("source") == "random":
        return HALF
    try:
        (red, green, blue), (red_std, green_std, blue_std) = (map(float, provenance[key]) for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError):
        raise PipelineError(
            f"model.normalisation: auto, but {provenance.get('source')} does not say by which mean and std it was "
            f"trained; model.normalisation must be one of {', '.join(STATISTICS)}"
        ) from None
    return (red, green, blue), (red_std, green_std, blue_std)


def _describe(found: dict[str, Any]) -> str:
    sizes = dict.fromkeys(("backbone", "patch_size", "image_size")) | found
    arguments = f" ({sizes['backbone_args']})" if "backbone_args" in sizes else ""
    return "{backbone} with patches of {patch_size} at {image_size} pixels".format_map(sizes) + arguments
