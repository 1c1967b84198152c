"""Prompts in every layer: VPT-Deep (arXiv:2203.12119), or with a strength by which a model starts as the plain ViT."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mosaic_pipeline.model.specialist import Adapter
from mosaic_pipeline.present import present

if TYPE_CHECKING:
    from mosaic_pipeline.config import Architecture


class Prompt(Adapter, nn.Module):
    """P learned tokens that all others of a block attend to.

    VPT-Deep drops a layer's prompts after it, so only their keys and values matter and only those are computed. No
    values of prompts leave attention as it is, hence a factor on their effect, the strength: at 0 this is the plain
    ViT, at 1 VPT-Deep. It is learned from wherever it starts but at 1, where the tokens are all that is trained.
    """

    def __init__(self, dim: int, count: int, strength: float, generator: torch.Generator) -> None:
        """Take the token dimension D, the number of prompts P, their strength and the stream that initialises them."""
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(count, dim))
        self.strength = None if strength == 1 else nn.Parameter(torch.tensor(float(strength)))
        nn.init.xavier_uniform_(self.tokens, generator=generator)

    def prompts(self) -> tuple[Tensor, Tensor | None]:
        """Return prompts [P, D] and their strength [], None for all of it."""
        return self.tokens, self.strength


def build(dim: int, size: int, shape: "Architecture", generator: torch.Generator) -> Prompt:
    """Build an adapter of `size` prompts."""
    return Prompt(dim, size, present(shape.prompt_strength), generator)
