"""A ViT's tensors in a .safetensors file, by timm's names: read, accounted for, and fitted to the model's images."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from pipeline.errors import PipelineError
from pipeline.model.vit import VisionTransformer, checkpoint_filter_fn
from pipeline.weights.google_npz import Contents

# What files hold beside the backbone: heads of the pre-training.
_HEAD = ("head.", "head_dist.", "fc_norm.", "pre_logits.")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
WAY_OUT = "model.backbone and model.weights must agree"


def fill_from_safetensors(model: VisionTransformer, path: Path, architecture: str) -> Contents:
    """Fill every parameter of a ViT from a file with timm's names; timm resizes positions of another grid.

    Raises PipelineError if a tensor is missing, unknown or of another shape, or does not hold finite floats.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise PipelineError(f"{path}: not an intact safetensors file ({' '.join(str(error).split())})") from None
    left_out = tuple(name for name in tensors if name.startswith(_HEAD))
    used = {name: tensor for name, tensor in tensors.items() if name not in left_out}
    expected = model.state_dict()
    for problem, names in (("no tensor", expected.keys() - used), ("unknown tensor", used.keys() - expected)):
        if names:
            first = sorted(names)[:3]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise PipelineError(f"{path}: {problem} {', '.join(first)}{more} of {architecture}; {WAY_OUT}")
    positions = used["pos_embed"].shape[1] if used["pos_embed"].dim() == 3 else 0
    for name, tensor in used.items():
        shape = list(expected[name].shape)
        if name == "pos_embed" and positions:
            shape[1] = positions
        if list(tensor.shape) != shape:
            raise PipelineError(
                f"{path}: {name} is {list(tensor.shape)}, expected {shape} of {architecture}; {WAY_OUT}"
            )
        if tensor.dtype not in _FLOATS:
            raise PipelineError(f"{path}: {name} holds {tensor.dtype}, expected floats; {WAY_OUT}")
        if not tensor.float().isfinite().all():
            raise PipelineError(f"{path}: {name} holds values that are not finite in float32; {WAY_OUT}")
    # In the file's precision, as timm's own loading: it rounds resized positions to that.
    model.load_state_dict(checkpoint_filter_fn(used, model))
    return Contents(tuple(used), left_out, positions)
