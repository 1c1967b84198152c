"""Random weights for a ViT, seeded: in Google's npz layout where that holds all of it, else in timm's names."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from mosaic_pipeline.model.vit import VisionTransformer
from mosaic_pipeline.weights.google_npz import fits_layout, layout_of, random_npz, uniform

RANDOM_SEED = 0


def write_random(folder: Path, model: VisionTransformer, name: str, seed: int) -> Path:
    """Write a file of random weights for the model, which is called `name`, and return its path.

    The same bytes for the same arguments on every machine.
    """
    if fits_layout(model):
        layout = layout_of(model)
        path = folder / f"random_width{layout.width}_depth{layout.depth}_tokens{layout.tokens}.npz"
        random_npz(path, layout, seed)
        return path
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"random_{name}_tokens{model.pos_embed.shape[1]}.safetensors"
    generator = np.random.Generator(np.random.PCG64(seed))
    save_file({name: _random(generator, name, tuple(t.shape)) for name, t in model.state_dict().items()}, path)
    return path


def fill_randomly(model: VisionTransformer, name: str) -> VisionTransformer:
    """Fill a ViT with the random weights that the weights stage writes where none are named, and return it.

    As they were written: whoever trains needs nothing of what reads and checks anybody's files.
    """
    with TemporaryDirectory() as folder:
        path = write_random(Path(folder), model, name, RANDOM_SEED)
        if path.suffix == ".npz":
            model.load_pretrained(str(path))
        else:
            model.load_state_dict(load_file(path))
    return model


def _random(generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Draw as `random_npz` does. Layer scale is 1: at the 1e-5 of its training no block of a frozen ViT would count."""
    if name == "pos_embed" or name in ("reg_token", "dist_token"):
        std = 0.02
    elif name == "patch_embed.proj.weight":
        std = 1 / math.sqrt(math.prod(shape[1:]))
    elif len(shape) == 2:
        rows = shape[0] // 3 if name.endswith("qkv.weight") else shape[0]
        std = math.sqrt(2 / (rows + shape[1]))
    else:
        return torch.full(shape, float(name.endswith(("weight", "gamma"))))
    return torch.from_numpy(uniform(generator, shape, std))
