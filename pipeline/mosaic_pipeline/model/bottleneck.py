"""MOSAIC's adapter: a bottleneck beside the MLP (paper, section 2; as in AdaptFormer, arXiv:2205.13535)."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mosaic_pipeline.model.linear import PointwiseLinear
from mosaic_pipeline.model.specialist import Adapter
from mosaic_pipeline.present import present

if TYPE_CHECKING:
    from mosaic_pipeline.config import Architecture


class Bottleneck(Adapter, nn.Module):
    """scale * Up(ReLU(Down(h))) with biases: [N, T, D] -> [N, T, D].

    Down is Kaiming-uniform (a = sqrt 5), Up and both biases are zero, so that an untrained bottleneck adds nothing. The
    paper has no normalisation inside; `layer_norm` is that of its public code, in front of Down.
    """

    def __init__(self, dim: int, width: int, scale: float, layer_norm: bool, generator: torch.Generator) -> None:
        """Take the token dimension D, the bottleneck width d and the stream that initialises Down."""
        super().__init__()
        self.scale = scale
        self.norm = nn.LayerNorm(dim) if layer_norm else None
        self.down = PointwiseLinear(dim, width)
        self.up = PointwiseLinear(width, dim)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def beside_mlp(self, h: Tensor) -> Tensor:
        """Map normalised tokens [N, T, D] to the branch's contribution."""
        if self.norm is not None:
            h = self.norm(h)
        return self.scale * self.up(F.relu(self.down(h)))


def build(dim: int, size: int, shape: "Architecture", generator: torch.Generator) -> Bottleneck:
    """Build a bottleneck of width `size`."""
    return Bottleneck(dim, size, present(shape.adapter_scale), present(shape.adapter_layer_norm), generator)
