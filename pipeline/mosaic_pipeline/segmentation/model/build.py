"""A model of a resolved configuration, every tensor at its start from a stream of its own."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mosaic_pipeline.model.gate import Gate
from mosaic_pipeline.model.linear import use_pointwise
from mosaic_pipeline.model.vit import WindowAttention
from mosaic_pipeline.segmentation.model.heads import UnionHead
from mosaic_pipeline.segmentation.model.m4oe import M4oE
from mosaic_pipeline.streams import stream

if TYPE_CHECKING:
    from mosaic_pipeline.segmentation.config import Config

# As published. One over the root of the inputs, which is torch's, learned less inside of the trunk in the same steps.
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
    """Fill every matrix and table of relative positions from a normal distribution; biases are zero.

    What is a convolution in the public code, patches and heads, is uniform within one over the root of its inputs, as
    there: at STD a mean DSC on toy organs of 0.59 after 150 steps was 0.44 (three seeds). Gates stay at the zero that
    they start from, norms at one.
    """
    edges = {*model.heads.modules(), *(trunk.patch_embed.proj for trunk in model.trunks.values())}
    gates = [module for module in model.modules() if isinstance(module, Gate)]
    still = {id(parameter) for gate in gates for parameter in gate.parameters()}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in still or isinstance(module, nn.LayerNorm):
                continue
            if name == "bias":
                nn.init.zeros_(parameter)
            elif module in edges:
                _uniform(parameter, stream(seed, "m4oe", f"{prefix}.{name}"))
            elif isinstance(module, nn.Linear | WindowAttention):
                nn.init.trunc_normal_(parameter, std=STD, generator=stream(seed, "m4oe", f"{prefix}.{name}"))
    if isinstance(model.heads, UnionHead):
        # By organ, because one more dataset makes the matrix longer.
        for row, organ in zip(model.heads.union.weight, model.heads.classes, strict=True):
            _uniform(row[None], stream(seed, "m4oe", "organ", organ))


def _uniform(weight: Tensor, generator: torch.Generator) -> None:
    """Fill a weight [out, ...] within one over the root of its inputs."""
    bound = weight[0].numel() ** -0.5
    nn.init.uniform_(weight, -bound, bound, generator=generator)
