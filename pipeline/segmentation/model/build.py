"""A model of a resolved configuration, every tensor at its start from a stream of its own."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from pipeline.model.gate import Gate
from pipeline.model.linear import use_pointwise
from pipeline.model.vit import WindowAttention
from pipeline.segmentation.model.heads import UnionHead
from pipeline.segmentation.model.m4oe import M4oE
from pipeline.streams import stream

if TYPE_CHECKING:
    from pipeline.segmentation.config import Config

# As published. One over the root of the inputs, which is torch's, learned less on phantoms in the same steps.
STD = 0.02


def build_m4oe(config: "Config", seed: int) -> M4oE:
    """Build the model; each tensor draws from a stream of `seed` and its name, so it starts the same in any company."""
    model = assemble(config)
    initialise(model, seed)
    return model


def assemble(config: "Config") -> M4oE:
    """Build the model for tensors that come from a file: what its own hold says nothing."""
    model = M4oE(config)
    for trunk in model.trunks.values():
        for _, block in trunk.blocks():
            use_pointwise(block)
    return model


@torch.no_grad()
def initialise(model: M4oE, seed: int) -> None:
    """Fill every matrix, kernel and table of relative positions from a normal distribution; biases are zero.

    Gates stay at the zero that they start from, norms at one.
    """
    gates = [module for module in model.modules() if isinstance(module, Gate)]
    still = {id(parameter) for gate in gates for parameter in gate.parameters()}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in still or isinstance(module, nn.LayerNorm):
                continue
            if name == "bias":
                nn.init.zeros_(parameter)
            elif isinstance(module, nn.Linear | nn.Conv2d | WindowAttention):
                generator = stream(seed, "m4oe", f"{prefix}.{name}")
                nn.init.trunc_normal_(parameter, std=STD, generator=generator)
    if isinstance(model.heads, UnionHead):
        # By organ, because one more dataset makes the matrix longer.
        for row, organ in zip(model.heads.union.weight, model.heads.classes, strict=True):
            nn.init.trunc_normal_(row, std=STD, generator=stream(seed, "m4oe", "organ", organ))
