"""Prompts in every layer: VPT-Deep (arXiv:2203.12119), with a strength by which a model can start as the plain ViT."""

import torch
from torch import Tensor, nn

from pipeline.model.specialist import Adapter


class Prompt(Adapter, nn.Module):
    """P learned tokens that all others of a block attend to.

    VPT-Deep drops a layer's prompts after it, so only their keys and values matter and only those are computed. No
    values of prompts leave attention as it is, hence a learned factor on their effect: at a strength of 1 this is
    VPT-Deep, at 0, where it may start, the plain ViT.
    """

    def __init__(self, dim: int, count: int, strength: float, generator: torch.Generator) -> None:
        """Take the token dimension D, the number of prompts P and the stream that initialises them."""
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(count, dim))
        self.strength = nn.Parameter(torch.tensor(float(strength)))
        nn.init.xavier_uniform_(self.tokens, generator=generator)

    def prompts(self) -> tuple[Tensor, Tensor]:
        """Return prompts [P, D] and their strength []."""
        return self.tokens, self.strength
