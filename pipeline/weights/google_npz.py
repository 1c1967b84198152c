"""Google's npz layout of a ViT: names and shapes, the check of a file against them, and random weights in it.

Source: the checkpoints of "An Image is Worth 16x16 Words" (arXiv:2010.11929) and "How to train your ViT?"
(arXiv:2106.10270), https://github.com/google-research/vision_transformer, as timm's `load_pretrained` reads them.
"""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import PipelineError
from pipeline.npz import write_npz

if TYPE_CHECKING:
    from pipeline.model.vit import VisionTransformer

# What files hold beside the backbone: the pre-training head and the layer before it.
_HEAD = ("head/", "pre_logits/")
# Training checkpoints nest the weights, and keep the optimiser's state beside them.
_TARGET = "opt/target/"

_PATCHES = "embedding/kernel"
_POSITIONS = "Transformer/posembed_input/pos_embedding"
_BLOCK = re.compile(r"Transformer/encoderblock_(\d+)/")


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
    """A file that fits: the names of its arrays that are used and that are not, and its number of positions."""

    used: tuple[str, ...]
    left_out: tuple[str, ...]
    tokens: int


def layout_of(model: VisionTransformer) -> Layout:
    """Return the layout that fills a plain timm ViT."""
    block = model.blocks[0]
    return Layout(
        width=model.embed_dim,
        depth=len(model.blocks),
        heads=block.attn.num_heads,
        mlp_width=block.mlp.fc1.out_features,
        patch_size=model.patch_embed.patch_size[0],
        tokens=model.pos_embed.shape[1],
    )


def check_npz(path: Path, layout: Layout, architecture: str) -> Contents:
    """Hold a file against `layout` and account for each of its arrays.

    Positions may be of another square grid: timm resizes them. Raises PipelineError for a damaged file, other
    sizes, missing or unknown arrays, and values that are not finite floats.
    """
    try:
        npz = np.load(path, allow_pickle=False)
        if not isinstance(npz, np.lib.npyio.NpzFile):
            raise ValueError("a single array, not an archive")
        with npz:
            return _account(npz, path, layout, architecture)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, OSError) as error:
        raise PipelineError(f"{path}: not an intact npz file ({' '.join(str(error).split())})") from None


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


def _account(npz: np.lib.npyio.NpzFile, path: Path, layout: Layout, architecture: str) -> Contents:
    prefix = _TARGET if _TARGET + _PATCHES in npz else ""
    if prefix + _PATCHES not in npz:
        raise PipelineError(f"{path}: no array {_PATCHES}: not a ViT in Google's npz layout")
    found = {name.removeprefix(prefix) for name in npz.files if name.startswith(prefix)}
    left_out = {name for name in npz.files if not name.startswith(prefix)}
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
            raise PipelineError(f"{path}: {problem} {_few(names)}; {architecture} has {len(expected)} arrays")
    for name, shape in expected.items():
        _check_array(path, name, npz[prefix + name], shape)
    return Contents(
        used=tuple(prefix + name for name in expected),
        left_out=tuple(name for name in npz.files if name in left_out),
        tokens=npz[prefix + _POSITIONS].shape[1],
    )


def _differences(npz: np.lib.npyio.NpzFile, prefix: str, layout: Layout) -> list[str]:
    """Say which sizes of the file are not the layout's."""
    blocks = {match[1] for name in npz.files if (match := _BLOCK.match(name.removeprefix(prefix)))}
    found = {"depth": len(blocks)}
    block = f"{prefix}Transformer/encoderblock_0"
    for array, dimensions in (
        (prefix + _PATCHES, ("patch_size", None, None, "width")),
        (f"{block}/MultiHeadDotProductAttention_1/query/kernel", (None, "heads", None)),
        (f"{block}/MlpBlock_3/Dense_0/kernel", (None, "mlp_width")),
    ):
        if array in npz and npz[array].ndim == len(dimensions):
            found |= {key: size for key, size in zip(dimensions, npz[array].shape, strict=True) if key}
    return [
        f"{key.replace('_', ' ')} {size}, not the {getattr(layout, key)}"
        for key, size in found.items()
        if size != getattr(layout, key)
    ]


def _check_array(path: Path, name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if name == _POSITIONS and array.ndim == 3 and array.shape[1] > 1:
        grid = math.isqrt(array.shape[1] - 1)
        shape = (shape[0], 1 + grid * grid, shape[2])
    if array.shape != shape:
        raise PipelineError(f"{path}: {name} is {list(array.shape)}, expected {list(shape)}")
    if array.dtype.kind != "f":
        raise PipelineError(f"{path}: {name} holds {array.dtype}, expected floats")
    if not np.isfinite(array).all():
        raise PipelineError(f"{path}: {name} holds values that are not finite")


def _few(names: set[str]) -> str:
    first = sorted(names)[:3]
    return ", ".join(first) + (f" and {len(names) - len(first)} more" if len(names) > len(first) else "")


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
    bound = np.float32(math.sqrt(3) * std)
    return (2 * generator.random(shape, np.float32) - 1) * bound
