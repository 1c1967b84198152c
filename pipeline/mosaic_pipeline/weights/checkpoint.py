"""A ViT's tensors in a safetensors or torch file: found, accounted for, and fitted to the model's images."""

import argparse
import math
import pickle
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.model.vit import VisionTransformer, checkpoint_filter_fn
from mosaic_pipeline.weights.files import WAY_OUT, kind_of
from mosaic_pipeline.weights.google_npz import Contents
from mosaic_pipeline.weights.naming import find, is_beside

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_DEEPEST = 16  # levels; training checkpoints have about five
_AGREE = "model.backbone, model.backbone_args and model.weights must agree"
# What a parameter that only one of model and file has is a sign of, and which argument of timm's that is.
_SIGNS = {
    r"blocks\.0\.ls1\.gamma": "layer scale: init_values",
    r"reg_token": "registers: reg_tokens",
    r"norm_pre\.weight": "a norm before the blocks: pre_norm",
    r"blocks\.0\.attn\.q_norm\.weight": "a norm of queries and keys: qk_norm",
    r"blocks\.0\.attn\.qkv\.bias": "biases of queries, keys and values: qkv_bias",
}


@contextmanager
def open_tensors(path: Path, way_out: str = WAY_OUT) -> Iterator[Mapping[str, Tensor]]:
    """Open a safetensors or torch file as its tensors by name, each read only when it is asked for.

    Nested dictionaries of a torch file are one, their keys joined by dots. Raises PipelineError if the file cannot be
    read, or holds Python objects, which are never loaded; it ends with `way_out`.
    """
    if kind_of(path, way_out) == "torch":
        tree = _load_torch(path, way_out)
        if _depth(tree) > _DEEPEST:
            raise PipelineError(
                f"{path}: dictionaries within each other, deeper than {_DEEPEST}; save the model's state_dict() alone"
            )
        yield dict(_flat(tree))
        return
    try:
        file = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise PipelineError(f"{path}: not an intact safetensors file ({_line(error)}); {way_out}") from None
    with file:
        yield _Lazy(file)


class _Lazy(Mapping[str, Tensor]):
    """The tensors of an open safetensors file."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._names = tuple(file.keys())

    def __getitem__(self, name: str) -> Tensor:
        return self._file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _load_torch(path: Path, way_out: str) -> Any:
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"
    try:
        if zipped:
            _check_sums(path)
        # timm's and MAE's own checkpoints keep the command line beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError:
        objects = _objects(path) if zipped else ""
        raise PipelineError(
            f"{path}: not only tensors, but Python objects{objects}, which are never loaded; save the model's "
            "state_dict() alone"
        ) from None
    except Exception as error:  # torch's reader meets damage with nearly anything
        raise PipelineError(f"{path}: not an intact torch file ({_line(error)}); {way_out}") from None


def _check_sums(path: Path) -> None:
    """Read a zip once against its check sums, which torch's own reader leaves aside. Raises BadZipFile."""
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"{damaged} is damaged")


def _objects(path: Path) -> str:
    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # as above
        return ""
    return f" ({few(sorted(found))})" if found else ""


def _inside(tree: Any) -> Iterable[tuple[Any, Any]]:
    """Return what is inside of a dictionary or a list, by key or place; nothing of anything else."""
    if isinstance(tree, Mapping):
        return tree.items()
    return enumerate(tree) if isinstance(tree, list | tuple) else ()


def _depth(tree: Any) -> int:
    """Return how deep dictionaries and lists lie within each other, looking no further than is allowed."""
    depth, level = 0, [tree]
    while level and depth <= _DEEPEST:
        inside = {id(value): value for each in level for _, value in _inside(each)}
        depth, level = depth + 1, [value for value in inside.values() if isinstance(value, Mapping | list | tuple)]
    return depth


def _flat(tree: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of nested dictionaries and lists by dotted key."""
    if isinstance(tree, Tensor):
        yield prefix.removesuffix("."), tree
        return
    for key, value in _inside(tree):
        yield from _flat(value, f"{prefix}{key}.")


def fill_from_checkpoint(model: VisionTransformer, path: Path, architecture: str) -> Contents:
    """Fill every parameter of a ViT from a safetensors or torch file; timm resizes positions of another grid.

    Raises PipelineError if the file cannot be read or holds no ViT, if a tensor is missing, unknown or of another
    shape, or does not hold finite floats.
    """
    with open_tensors(path) as tensors:
        found = find(set(tensors))
        if not found:
            raise PipelineError(f"{path}: no class token and patches by any known names; {WAY_OUT}")
        if len(found) > 1:
            prefixes = few(sorted(prefix.rstrip(".") or "the names without a prefix" for _, prefix in found))
            raise PipelineError(f"{path}: several ViTs, below {prefixes}; save the one that is meant alone")
        ((family, prefix),) = found
        parts: dict[str, dict[str, str]] = {}
        for name in tensors:
            if name.startswith(prefix):
                target, _, part = family.renamed(name.removeprefix(prefix)).partition("#")
                other = parts.setdefault(target, {}).setdefault(part, name)
                if other != name and not is_beside(target):
                    raise PipelineError(
                        f"{path}: {' and '.join(sorted((other, name)))} are two names for one parameter, {target}; "
                        "save the model's state_dict() alone"
                    )
        notes = []
        if "norm.weight" not in parts and "fc_norm.weight" in parts:
            parts |= {f"norm.{each}": parts.pop(f"fc_norm.{each}", {}) for each in ("weight", "bias")}
            notes.append("tuned on the mean of its tokens (fc_norm), so its class token was not trained to be read")
        expected = model.state_dict()
        sources = {name: [parts[name][part] for part in sorted(parts[name])] for name in expected if parts.get(name)}
        state = {name: joined([tensors[source] for source in sources[name]]) for name in sources}
        for name in state.keys() & {"cls_token", "pos_embed"}:
            if _dense(state[name]):
                state[name] = state[name][(None,) * (3 - state[name].dim())]  # CLIP's have no batch dimension
        beyond = {name for name in parts if name not in expected and not is_beside(name)}
        if problem := _differences(model, state, beyond) or _missing(expected.keys() - state, beyond):
            raise PipelineError(f"{path}: {problem} of {architecture}; {_AGREE}")
        if not model.pos_embed.shape[1] - model.patch_embed.num_patches:
            _fold_class_position(state)
        for name, tensor in state.items():
            if wrong := problem_of(name, tensor, _shape(name, tensor, model)):
                raise PipelineError(f"{path}: {' + '.join(sources[name])} {wrong} of {architecture}; {_AGREE}")
        # FlexiViT's own way. In the file's precision, as timm's loading: it rounds resized positions to that.
        if "flexi" in architecture:
            filtered = checkpoint_filter_fn(state, model, interpolation="bilinear", antialias=False)
        else:
            filtered = checkpoint_filter_fn(state, model)
        model.load_state_dict(filtered)
        used = [source for each in sources.values() for source in each]
        left_out = sorted(set(tensors) - set(used))
    tokens = state["pos_embed"].shape[1]
    return Contents(tuple(used), tuple(left_out), tokens, prefix=prefix, family=family.title, notes=tuple(notes))


def joined(tensors: list[Tensor]) -> Tensor:
    """Put the parts of a tensor together, along rows; those that do not fit are for `problem_of` to find."""
    same = len({(tensor.dtype, tensor.shape[1:]) for tensor in tensors}) == 1
    return torch.cat(tensors) if len(tensors) > 1 and same and all(map(_dense, tensors)) else tensors[0]


def _dense(tensor: Tensor) -> bool:
    """Whether a tensor has all of its values; a sparse one does not, and one on the meta device has none."""
    return tensor.layout == torch.strided and not tensor.is_meta


def _differences(model: VisionTransformer, state: Mapping[str, Tensor], beyond: Iterable[str]) -> str:
    """Say which sizes of a file are not the model's; "" if none is."""
    kernel = state.get("patch_embed.proj.weight")
    found = {"depth": len({match[1] for name in (*state, *beyond) if (match := re.match(r"blocks\.(\d+)\.", name))})}
    if kernel is not None and kernel.dim() == 4:
        found |= {"width": kernel.shape[0], "patch size": kernel.shape[-1]}
    own = {"depth": len(model.blocks), "width": model.embed_dim, "patch size": model.patch_embed.patch_size[0]}
    return ", ".join(f"{key} {size}, not the {own[key]}" for key, size in found.items() if size != own[key])


def _missing(lacking: Iterable[str], beyond: Iterable[str]) -> str:
    """Say which parameters only one of model and file has; "" if none."""
    for problem, names, whose in (("no tensor", lacking, "the model"), ("unknown tensor", beyond, "the file")):
        if names := set(names):
            signs = [sign for pattern, sign in _SIGNS.items() if any(re.fullmatch(pattern, name) for name in names)]
            hint = f" ({whose} has {'; '.join(signs)} in model.backbone_args)" if signs else ""
            return f"{problem} {few(sorted(names))}{hint}"
    return ""


def _fold_class_position(state: dict[str, Tensor]) -> None:
    """Add the class token's position to it where the model has none: as timm does to DINOv2 with registers."""
    positions, token = state["pos_embed"], state["cls_token"]
    if positions.dim() != 3 or token.dim() != 3 or positions.shape[2] != token.shape[2]:
        return
    if not _dense(positions) or not _dense(token):
        return
    patches = positions.shape[1] - 1
    if patches > 0 and math.isqrt(patches) ** 2 == patches:
        state["cls_token"], state["pos_embed"] = token + positions[:, :1], positions[:, 1:]


def _shape(name: str, tensor: Tensor, model: VisionTransformer) -> tuple[int, ...]:
    """Return the shape that a tensor of the file must have: the model's, but for positions of another grid."""
    shape = tuple(model.get_parameter(name).shape)
    if name != "pos_embed" or tensor.dim() != 3:
        return shape
    prefix = shape[1] - model.patch_embed.num_patches
    return shape[0], prefix + math.isqrt(max(1, tensor.shape[1] - prefix)) ** 2, shape[2]


def problem_of(name: str, tensor: Tensor, shape: tuple[int, ...]) -> str | None:
    """Say what is wrong with a tensor; its values are read only if it is of the right size."""
    if tuple(tensor.shape) != shape:
        # Nothing else halves the columns of the second layer alone.
        gated = name.endswith("mlp.fc2.weight") and tuple(tensor.shape) == (shape[0], shape[1] / 2)
        hint = " (as of a gated MLP: mlp_layer: SwiGLUPacked in model.backbone_args)" if gated else ""
        return f"is {list(tensor.shape)}, expected {list(shape)}{hint}"
    if tensor.is_meta:
        return "has a shape but no values (it was saved from torch's meta device)"
    if tensor.layout != torch.strided or tensor.dtype not in _FLOATS:
        return f"holds {tensor.dtype}, expected dense floats of 16, 32 or 64 bits"
    if not tensor.isfinite().all():
        return "holds values that are not finite"
    if tensor.dtype == torch.float64 and not tensor.float().isfinite().all():
        return "holds values beyond float32, in which weights are kept"
    return None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
