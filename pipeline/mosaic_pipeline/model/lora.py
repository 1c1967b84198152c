"""LoRA: low-rank updates of the query and value projections (arXiv:2106.09685)."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mosaic_pipeline.model.linear import PointwiseLinear
from mosaic_pipeline.model.specialist import Adapter

if TYPE_CHECKING:
    from mosaic_pipeline.config import Architecture

# alpha = 2 r, whatever the rank.
ALPHA_BY_RANK = 2.0


class Lora(Adapter, nn.Module):
    """q + (alpha / r) B_q A_q u and v + (alpha / r) B_v A_v u, without biases.

    A is Kaiming-uniform (a = sqrt 5) and B zero, so that an untrained LoRA adds nothing.
    """

    def __init__(self, dim: int, rank: int, generator: torch.Generator) -> None:
        """Take the token dimension D, the rank r and the stream that initialises A."""
        super().__init__()
        self.query = _low_rank(dim, rank, generator)
        self.value = _low_rank(dim, rank, generator)

    def query_value(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised tokens [N, T, D] to what is added to queries and to values."""
        return ALPHA_BY_RANK * self.query(u), ALPHA_BY_RANK * self.value(u)


def build(dim: int, size: int, shape: "Architecture", generator: torch.Generator) -> Lora:
    """Build a LoRA of rank `size`."""
    return Lora(dim, size, generator)


def _low_rank(dim: int, rank: int, generator: torch.Generator) -> nn.Sequential:
    a, b = PointwiseLinear(dim, rank, bias=False), PointwiseLinear(rank, dim, bias=False)
    nn.init.kaiming_uniform_(a.weight, a=math.sqrt(5), generator=generator)
    nn.init.zeros_(b.weight)
    return nn.Sequential(a, b)
