"""A Swin Transformer's tensors in a safetensors or torch file, by anybody's names: found, accounted for, converted.

Sources of the names: timm's swin_transformer.py, github.com/microsoft/Swin-Transformer, torchvision's
swin_transformer.py, and the conversion in transformers (models/swin/convert_swin_timm_to_pytorch.py).
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from mosaic_pipeline.atomic import atomic
from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.segmentation.model.start import encoder_shapes
from mosaic_pipeline.segmentation.model.swin_unet import SwinUnet
from mosaic_pipeline.weights.account import listed
from mosaic_pipeline.weights.checkpoint import joined, open_tensors, problem_of
from mosaic_pipeline.weights.google_npz import Contents
from mosaic_pipeline.weights.naming import Family, find, is_beside

if TYPE_CHECKING:
    from mosaic_pipeline.segmentation.config import Architecture

WAY_OUT = (
    "segmentation.model.weights must name an intact safetensors or torch file of a Swin Transformer, or be null for "
    "random weights"
)
_AGREE = "segmentation.model and its weights must agree"
_STAGES = range(8)
_HF = r"encoder\.layers\.(\d+)\.blocks\.(\d+)\."
_TABLE = "relative_position_bias_table"
# Kept beside the weights by some, and made anew from the sizes.
_COMPUTED = re.compile(r".*(relative_position_index|attn_mask|relative_coords_table)")

FAMILIES = (
    Family(
        "torchvision",
        "features.0.0.weight",
        "features.1.0.attn.qkv.weight",
        (
            (r"features\.0\.0\.(\w+)", r"patch_embed.proj.\1"),
            (r"features\.0\.2\.(\w+)", r"patch_embed.norm.\1"),
            *(
                (rf"features\.{2 * stage + 1}\.(\d+)\.mlp\.{theirs}\.(\w+)", rf"encoder.{stage}.blocks.\1.mlp.{own}.\2")
                for stage in _STAGES
                for theirs, own in ((0, "fc1"), (3, "fc2"))
            ),
            *((rf"features\.{2 * stage + 1}\.(\d+)\.(.+)", rf"encoder.{stage}.blocks.\1.\2") for stage in _STAGES),
            *((rf"features\.{2 * stage + 2}\.(.+)", rf"merge.{stage}.\1") for stage in _STAGES),
        ),
    ),
    Family(
        "Hugging Face",
        "embeddings.patch_embeddings.projection.weight",
        "encoder.layers.0.blocks.0.attention.self.query.weight",
        (
            (r"embeddings\.patch_embeddings\.projection\.(\w+)", r"patch_embed.proj.\1"),
            (r"embeddings\.norm\.(\w+)", r"patch_embed.norm.\1"),
            *(
                (_HF + rf"attention\.self\.{name}\.(\w+)", rf"encoder.\1.blocks.\2.attn.qkv.\3#{part}")
                for part, name in enumerate(("query", "key", "value"))
            ),
            (_HF + r"attention\.self\.(\w+)", r"encoder.\1.blocks.\2.attn.\3"),
            (_HF + r"attention\.output\.dense\.(\w+)", r"encoder.\1.blocks.\2.attn.proj.\3"),
            (_HF + r"layernorm_before\.(\w+)", r"encoder.\1.blocks.\2.norm1.\3"),
            (_HF + r"layernorm_after\.(\w+)", r"encoder.\1.blocks.\2.norm2.\3"),
            (_HF + r"intermediate\.dense\.(\w+)", r"encoder.\1.blocks.\2.mlp.fc1.\3"),
            (_HF + r"output\.dense\.(\w+)", r"encoder.\1.blocks.\2.mlp.fc2.\3"),
            (r"encoder\.layers\.(\d+)\.downsample\.(.+)", r"merge.\1.\2"),
            (r"layernorm\.(\w+)", r"norm.\1"),
        ),
    ),
    # The first stage ends with a merger here, where in timm the second begins with it.
    Family(
        "Microsoft",
        "patch_embed.proj.weight",
        "layers.0.downsample.reduction.weight",
        ((r"layers\.(\d+)\.(blocks\..+)", r"encoder.\1.\2"), (r"layers\.(\d+)\.downsample\.(.+)", r"merge.\1.\2")),
    ),
    Family(
        "timm",
        "patch_embed.proj.weight",
        "layers.1.downsample.reduction.weight",
        (
            (r"layers\.(\d+)\.(blocks\..+)", r"encoder.\1.\2"),
            *((rf"layers\.{stage + 1}\.downsample\.(.+)", rf"merge.{stage}.\1") for stage in _STAGES),
        ),
    ),
)


def read_swin(path: Path, shape: "Architecture") -> tuple[dict[str, Tensor], Contents]:
    """Return the tensors of a trunk's encoder in float32, by its own names, and what became of those in the file.

    What only fits after a change is changed, and noted: kernels of three colours are summed for one channel, tables of
    relative positions cut to a smaller window or resized to a larger one, and blocks beyond the model's depth left out.
    Raises PipelineError if the file cannot be read or holds no Swin Transformer, or if a tensor is missing, unknown, of
    another shape, or does not hold finite floats.
    """
    expected = encoder_shapes(_plain(shape))
    with open_tensors(path, WAY_OUT) as tensors:
        found = find(set(tensors), FAMILIES)
        if not found:
            raise PipelineError(f"{path}: no patches and mergers by any known names; {WAY_OUT}")
        if len(found) > 1:
            prefixes = few(sorted(prefix.rstrip(".") or "the names without a prefix" for _, prefix in found))
            raise PipelineError(
                f"{path}: several networks, below {prefixes}; save the one that segmentation.model.weights means alone"
            )
        ((family, prefix),) = found
        parts: dict[str, dict[str, str]] = {}
        for name in tensors:
            if name.startswith(prefix) and not _COMPUTED.fullmatch(name):
                target, _, part = family.renamed(name.removeprefix(prefix)).partition("#")
                parts.setdefault(target, {})[part] = name
        sources = {name: [parts[name][part] for part in sorted(parts[name])] for name in expected if name in parts}
        beyond = {name for name in parts if name not in expected and not is_beside(name)}
        deeper = {name for name in beyond if _is_deeper(name, shape.depths)}
        for problem, names in (("no tensor", expected.keys() - sources), ("unknown tensor", beyond - deeper)):
            if names:
                raise PipelineError(f"{path}: {problem} {few(sorted(names))}{_stages(parts, shape)}; {_AGREE}")
        state, notes = {}, []
        for name, parts_of in sources.items():
            tensor = joined([tensors[source] for source in parts_of])
            tensor, note = _fitted(name, tensor, expected[name])
            if wrong := problem_of(name, tensor, expected[name]):
                raise PipelineError(f"{path}: {' + '.join(parts_of)} {wrong}; {_AGREE}")
            state[name] = tensor.float()
            notes += [note] if note and note not in notes else []
        used = tuple(source for names in sources.values() for source in names)
        left_out = tuple(sorted(set(tensors) - set(used)))
    if deeper:
        notes.append(f"blocks beyond the depths {list(shape.depths)} left out")
    return state, Contents(used, left_out, 0, prefix=prefix, family=family.title, notes=tuple(notes))


def account_of(name: str, sha256: str, state: Mapping[str, Tensor], contents: Contents) -> str:
    """Say in one line what an encoder starts from, what of it was used, and what was left out."""
    notes = [f"{len(contents.used)} tensors used", f"left out: {listed(contents.left_out)}"]
    if contents.prefix:
        notes.append(f"found below {contents.prefix.rstrip('.')}")
    if contents.family != "timm":
        notes.append(f"by the names of {contents.family}")
    parameters = sum(tensor.numel() for tensor in state.values())
    return f"{parameters:,} parameters from {name} (sha256 {sha256}), {', '.join((*notes, *contents.notes))}"


def save_swin(state: Mapping[str, Tensor], path: Path, provenance: Mapping[str, str]) -> None:
    """Write an encoder's tensors and where they come from; the same bytes for the same values."""
    metadata = {"provenance": json.dumps(provenance, sort_keys=True)}
    with atomic(path) as temporary:
        temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in state.items()}, metadata))


def _plain(shape: "Architecture") -> SwinUnet:
    """Build a trunk without experts and without storage."""
    with torch.device("meta"):
        return SwinUnet(**shape.model_dump(exclude={"weights", "drop_path"}))


def _is_deeper(name: str, depths: tuple[int, ...]) -> bool:
    """Whether a tensor is of a block beyond those that a stage of the model has."""
    match = re.match(r"encoder\.(\d+)\.blocks\.(\d+)\.", name)
    return match is not None and int(match[1]) < len(depths) and int(match[2]) >= depths[int(match[1])]


def _stages(names: Mapping[str, object], shape: "Architecture") -> str:
    """Say how many stages a file has, if that is another number than the model's."""
    stages = len({match[1] for name in names if (match := re.match(r"encoder\.(\d+)\.", name))})
    return f" (it has {stages} stages, the model {len(shape.depths)})" if stages != len(shape.depths) else ""


def _fitted(name: str, tensor: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, str]:
    """Return a tensor in the model's shape where it can be made to have it, and what was done for that."""
    if tensor.is_meta or tensor.layout != torch.strided or not tensor.is_floating_point():
        return tensor, ""
    if name == "patch_embed.proj.weight" and tensor.dim() == 4 and (tensor.shape[1], shape[1]) == (3, 1):
        return tensor.float().sum(dim=1, keepdim=True), "kernels of three colours summed"
    if name.endswith(_TABLE) and tensor.dim() == 2 and tensor.shape[1] == shape[1] and tensor.shape[0] != shape[0]:
        old, new = (int(rows**0.5 + 1) // 2 for rows in (tensor.shape[0], shape[0]))
        if (2 * old - 1) ** 2 == tensor.shape[0] and tensor.isfinite().all():
            table = tensor.float().view(2 * old - 1, 2 * old - 1, -1)
            if new < old:
                # What lies as far apart as before keeps its value.
                inner = slice(old - new, old + new - 1)
                return table[inner, inner].reshape(shape), f"relative positions cut from windows of {old}"
            # As Microsoft's own code does for larger windows.
            resized = F.interpolate(table.movedim(-1, 0)[None], size=2 * new - 1, mode="bicubic", align_corners=False)
            return resized[0].movedim(0, -1).reshape(shape), f"relative positions resized from windows of {old}"
    return tensor, ""
