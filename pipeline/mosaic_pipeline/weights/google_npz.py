"""Google's npz layout of a ViT: names and shapes, the check of a file against them, and random weights in it.

Source: the checkpoints of "An Image is Worth 16x16 Words" (arXiv:2010.11929) and "How to train your ViT?"
(arXiv:2106.10270), https://github.com/google-research/vision_transformer, as timm's `load_pretrained` reads them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from mosaic_pipeline.arrays import Damaged, Npz, open_npz
from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.npz import write_npz

if TYPE_CHECKING:
    from torch import nn

    from mosaic_pipeline.model.vit import Mlp, VisionTransformer

# What to do about a file that is no ViT of Google's, or not the one that is meant.
WAY_OUT = "model.weights must name an intact npz of a ViT in Google's layout, or be null for random weights"
# What files hold beside the backbone: the pre-training head and the layer before it.
_HEAD = ("head/", "pre_logits/")
# Training checkpoints nest the weights, and keep the optimiser's state beside them.
_TARGET = "opt/target/"

# What torch takes over; weights are kept as float32.
_FLOATS = (np.float16, np.float32, np.float64)

_PATCHES = "embedding/kernel"
_POSITIONS = "Transformer/posembed_input/pos_embedding"
_BLOCK = re.compile(r"Transformer/encoderblock_(\d+)/")

# The parts of a timm ViT that an npz fills.
_STEM = ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias", "norm.weight", "norm.bias")
_BLOCK_LAYERS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")


@dataclass(frozen=True)
class Layout:
    """The sizes that decide every array's shape; `tokens` counts the class token."""

    width: int
    depth: int
    heads: int
    mlp_width: int
    patch_size: int
    tokens: int

    def arrays(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield name and shape of every array; kernels are [in, out], convolutions [H, W, in, out]."""
        width, heads, head_width = self.width, self.heads, self.width // self.heads
        yield "cls", (1, 1, width)
        yield _PATCHES, (self.patch_size, self.patch_size, 3, width)
        yield "embedding/bias", (width,)
        yield _POSITIONS, (1, self.tokens, width)
        for index in range(self.depth):
            block = f"Transformer/encoderblock_{index}"
            attention, mlp = f"{block}/MultiHeadDotProductAttention_1", f"{block}/MlpBlock_3"
            yield from _norm(f"{block}/LayerNorm_0", width)
            for name in ("query", "key", "value"):
                yield f"{attention}/{name}/kernel", (width, heads, head_width)
                yield f"{attention}/{name}/bias", (heads, head_width)
            yield f"{attention}/out/kernel", (heads, head_width, width)
            yield f"{attention}/out/bias", (width,)
            yield from _norm(f"{block}/LayerNorm_2", width)
            yield f"{mlp}/Dense_0/kernel", (width, self.mlp_width)
            yield f"{mlp}/Dense_0/bias", (self.mlp_width,)
            yield f"{mlp}/Dense_1/kernel", (self.mlp_width, width)
            yield f"{mlp}/Dense_1/bias", (width,)
        yield from _norm("Transformer/encoder_norm", width)


@dataclass(frozen=True)
class Contents:
    """A file that fits: the names of its arrays that are used and that are not, and its number of positions.

    `family` says whose names they are, `prefix` what stands before them, and `notes` what is unusual about them.
    """

    used: tuple[str, ...]
    left_out: tuple[str, ...]
    tokens: int
    prefix: str = ""
    family: str = "Google"
    notes: tuple[str, ...] = ()


def layout_of(model: VisionTransformer) -> Layout:
    """Return the layout that fills a plain timm ViT."""
    block = model.blocks[0]
    first = cast("nn.Linear", cast("Mlp", block.mlp).fc1)
    return Layout(
        width=model.embed_dim,
        depth=len(model.blocks),
        heads=block.attn.num_heads,
        mlp_width=first.out_features,
        patch_size=model.patch_embed.patch_size[0],
        tokens=model.pos_embed.shape[1],
    )


def fits_layout(model: VisionTransformer) -> bool:
    """Whether the layout holds all of a model: class token, pre-norm blocks, positions for class token and patches."""
    layers = [f"blocks.{i}.{layer}" for i in range(len(model.blocks)) for layer in _BLOCK_LAYERS]
    names = {*_STEM, *(f"{layer}.{part}" for layer in layers for part in ("weight", "bias"))}
    return model.state_dict().keys() == names and model.pos_embed.shape[1] == model.patch_embed.num_patches + 1


def check_npz(path: Path, layout: Layout, architecture: str) -> Contents:
    """Hold a file against `layout` and account for each of its arrays.

    Positions may be of another square grid: timm resizes them. Raises PipelineError for a damaged file, other
    sizes, missing or unknown arrays, and values that are not finite floats, or would not be in float32.
    """
    try:
        with open_npz(path) as npz:
            return _account(npz, path, layout, architecture)
    except (FileNotFoundError, Damaged) as problem:
        raise PipelineError(f"{path}: {described(problem)}; {WAY_OUT}") from None


def check_intact(path: Path) -> None:
    """Read a whole npz once against its check sums, whatever it holds. Raises PipelineError if it is damaged."""
    try:
        with open_npz(path) as npz:
            npz.check_sums()
    except (FileNotFoundError, Damaged) as problem:
        raise PipelineError(f"{described(problem)}; {WAY_OUT}") from None


def described(problem: Exception) -> str:
    """Say what is wrong with a file that is missing or damaged."""
    return "no such file" if isinstance(problem, FileNotFoundError) else f"not an intact npz file ({problem})"


def random_npz(path: Path, layout: Layout, seed: int) -> None:
    """Write random weights, the same bytes for the same arguments on every machine.

    Spread as Google's ViTs start to train: Glorot's for kernels, 1/fan-in for patches, 0.02 for positions; biases
    and the class token 0. Uniform instead of normal: those draws are exact arithmetic, while a normal's tails go
    through the C library's logarithm. The choice matters little: with specialists on a frozen ViT-Tiny at 64 px,
    mean validation AUC of retinamnist, breastmnist and adrenalmnist3d after 4 rounds is 0.73 and 0.76 with two seeds;
    kernels of 1/fan-in gave 0.74 and timm's own start (0.02 throughout) 0.72, with the first of them.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    arrays = {name: _random_array(generator, name, shape) for name, shape in layout.arrays()}
    write_npz(path, arrays)


def _norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}/scale", (width,)
    yield f"{name}/bias", (width,)


def _account(npz: Npz, path: Path, layout: Layout, architecture: str) -> Contents:
    prefix = _TARGET if _TARGET + _PATCHES in npz.names else ""
    if prefix + _PATCHES not in npz.names:
        raise PipelineError(f"{path}: no array {_PATCHES}: not a ViT in Google's npz layout; {WAY_OUT}")
    found = {name.removeprefix(prefix) for name in npz.names if name.startswith(prefix)}
    left_out = {name for name in npz.names if not name.startswith(prefix)}
    left_out |= {prefix + name for name in found if name.startswith(_HEAD)}

    differences = _differences(npz, prefix, layout)
    if differences:
        raise PipelineError(
            f"{path}: {', '.join(differences)} of {architecture}; model.backbone and model.weights must agree"
        )
    expected = dict(layout.arrays())
    for problem, names in (
        ("no array", expected.keys() - found),
        ("unknown array", {name for name in found if prefix + name not in left_out} - expected.keys()),
    ):
        if names:
            raise PipelineError(
                f"{path}: {problem} {few(sorted(names))}; {architecture} has {len(expected)} arrays: model.backbone "
                "and model.weights must agree"
            )
    for name, shape in expected.items():
        if wrong := _problem(npz, prefix + name, _shape(npz, prefix, name, shape)):
            raise PipelineError(f"{path}: {name} {wrong}; {WAY_OUT}")
    return Contents(
        used=tuple(prefix + name for name in expected),
        left_out=tuple(name for name in npz.names if name in left_out),
        tokens=npz.header(prefix + _POSITIONS).shape[1],
    )


def _differences(npz: Npz, prefix: str, layout: Layout) -> list[str]:
    """Say which sizes of the file are not the layout's."""
    blocks = {match[1] for name in npz.names if (match := _BLOCK.match(name.removeprefix(prefix)))}
    found = {"depth": len(blocks)}
    block = f"{prefix}Transformer/encoderblock_0"
    for array, dimensions in (
        (prefix + _PATCHES, ("patch_size", None, None, "width")),
        (f"{block}/MultiHeadDotProductAttention_1/query/kernel", (None, "heads", None)),
        (f"{block}/MlpBlock_3/Dense_0/kernel", (None, "mlp_width")),
    ):
        shape = npz.header(array).shape if array in npz.names else ()
        if len(shape) == len(dimensions):
            found |= {key: size for key, size in zip(dimensions, shape, strict=True) if key}
    return [
        f"{key.replace('_', ' ')} {size}, not the {getattr(layout, key)}"
        for key, size in found.items()
        if size != getattr(layout, key)
    ]


def _shape(npz: Npz, prefix: str, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that an array of the file must have: that of the layout, but for positions of another grid."""
    found = npz.header(prefix + name).shape
    if name != _POSITIONS or len(found) != 3 or found[1] < 2:
        return shape
    grid = math.isqrt(found[1] - 1)
    return shape[0], 1 + grid * grid, shape[2]


def _problem(npz: Npz, name: str, shape: tuple[int, ...]) -> str | None:
    """Say what is wrong with an array; its values are read only if it is of the right size."""
    header = npz.header(name)
    if header.shape != shape:
        return f"is {list(header.shape)}, expected {list(shape)}"
    if header.dtype not in _FLOATS:
        return f"holds {header.dtype}, expected floats of 16, 32 or 64 bits in this machine's byte order"
    values = npz.read(name)
    if not np.isfinite(values).all():
        return "holds values that are not finite"
    with np.errstate(over="ignore"):
        if not np.isfinite(values.astype(np.float32)).all():
            return "holds values beyond float32, in which weights are kept"
    return None


def _random_array(generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name == _POSITIONS:
        std = 0.02
    elif name == _PATCHES:
        std = 1 / math.sqrt(math.prod(shape[:-1]))
    elif name.endswith("kernel"):
        # fan-in + fan-out: an attention kernel spreads one of the two over heads and their width.
        fans = (shape[0], math.prod(shape[1:])) if "/out/" not in name else (math.prod(shape[:-1]), shape[-1])
        std = math.sqrt(2 / sum(fans))
    else:
        return np.full(shape, name.endswith("scale"), np.float32)
    return uniform(generator, shape, std)


def uniform(generator: np.random.Generator, shape: tuple[int, ...], std: float) -> np.ndarray:
    """Draw float32 numbers of mean 0 by exact arithmetic: the same on every machine."""
    bound = np.float32(math.sqrt(3) * std)
    return (2 * generator.random(shape, np.float32) - 1) * bound
