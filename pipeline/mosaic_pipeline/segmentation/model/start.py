"""A trunk's start from a Swin Transformer: its encoder, every expert there, and the decoder as its mirror image."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.segmentation.model.experts import expert_mlps
from mosaic_pipeline.segmentation.model.m4oe import M4oE
from mosaic_pipeline.segmentation.model.swin_unet import SwinUnet

# What a Swin Transformer has of a trunk.
ENCODER = ("patch_embed.", "encoder.", "merge.", "norm.")


def slots(trunk: SwinUnet) -> dict[str, list[nn.Parameter]]:
    """Return parameters by the name that they would have without experts, of which each has one; gates are left out."""
    found: dict[str, list[nn.Parameter]] = {}
    experts = {
        f"{place}.experts.{expert}.": f"{place}." for place, mlp in expert_mlps(trunk).items() for expert in mlp.experts
    }
    gates = tuple(f"{place}.gate." for place in expert_mlps(trunk))
    for name, parameter in trunk.named_parameters():
        if not name.startswith(gates):
            own = next((prefix for prefix in experts if name.startswith(prefix)), "")
            found.setdefault(experts.get(own, "") + name.removeprefix(own), []).append(parameter)
    return found


def encoder_shapes(trunk: SwinUnet) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of what a Swin Transformer fills."""
    return {name: tuple(found[0].shape) for name, found in slots(trunk).items() if name.startswith(ENCODER)}


def start_from(model: M4oE, path: Path, *, mirrored: bool = True) -> None:
    """Fill every trunk's encoder, with `mirrored` also its decoder's blocks, from what `save_swin` wrote.

    A block's MLP goes to each of its experts; a stage of the decoder gets the blocks of the encoder's of the same size.
    Raises PipelineError if the file is missing or damaged, or is not of the model's shape.
    """
    try:
        tensors = load_file(path)
        for trunk in model.trunks.values():
            _fill(trunk, tensors, mirrored)
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file; `dvc repro seg_weights` writes it") from None
    except (SafetensorError, ValueError, OSError) as error:
        problem = " ".join(str(error).split())
        raise PipelineError(
            f"{path}: {problem}; `dvc repro seg_weights` writes it for the model of params.yaml"
        ) from None


@torch.no_grad()
def _fill(trunk: SwinUnet, tensors: dict[str, Tensor], mirrored: bool) -> None:
    own = slots(trunk)
    expected = [name for name in own if name.startswith(ENCODER)]
    if tensors.keys() != set(expected):
        raise ValueError(f"tensors {sorted(tensors.keys() ^ set(expected))[:3]} are in only one of model and file")
    targets = [(name, name) for name in expected]
    targets += [(name, origin) for name, origin in _mirror(trunk, own) if mirrored]
    for name, origin in targets:
        tensor = tensors[origin]
        for parameter in own[name]:
            if tensor.shape != parameter.shape:
                raise ValueError(f"{origin} is {list(tensor.shape)}, but {name} of the model {list(parameter.shape)}")
            if not tensor.isfinite().all():
                raise ValueError(f"{origin} holds values that are not finite")
            parameter.copy_(tensor)


def _mirror(trunk: SwinUnet, names: dict[str, list[nn.Parameter]]) -> Iterator[tuple[str, str]]:
    """Yield the decoder's names, each with that of the encoder's block of the same size and number."""
    stages = len(trunk.decoder)
    for name in names:
        place, _, rest = name.partition(".")
        stage, _, inner = rest.partition(".")
        if place == "decoder":
            yield name, f"encoder.{stages - 1 - int(stage)}.{inner}"
