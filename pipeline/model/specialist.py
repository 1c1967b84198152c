"""A specialist: a bottleneck beside the MLP of every block (paper, section 2; as in AdaptFormer, arXiv:2205.13535)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.model.linear import PointwiseLinear


class Bottleneck(nn.Module):
    """Up(ReLU(Down(h))) with biases and no normalisation inside: [N, T, D] -> [N, T, D].

    Down is Kaiming-uniform (a = sqrt 5), Up and both biases are zero, so that an untrained bottleneck adds nothing.
    """

    def __init__(self, dim: int, width: int, generator: torch.Generator) -> None:
        """Take the token dimension D, the bottleneck width d and the stream that initialises Down."""
        super().__init__()
        self.down = PointwiseLinear(dim, width)
        self.up = PointwiseLinear(width, dim)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, h: Tensor) -> Tensor:
        """Map normalised tokens [N, T, D] to the branch's contribution, before the scale."""
        return self.up(F.relu(self.down(h)))


class Specialist(nn.ModuleList):
    """The bottlenecks of one specialist, one per block of the ViT."""

    def __init__(self, depth: int, dim: int, width: int, generator: torch.Generator) -> None:
        """Build `depth` bottlenecks of `width` on tokens of `dim`."""
        super().__init__(Bottleneck(dim, width, generator) for _ in range(depth))
