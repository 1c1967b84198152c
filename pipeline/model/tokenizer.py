"""From volumes to tokens. The 2D tokenizer is the ViT's own patch embedding."""

import math

import torch
from torch import Tensor, nn


class VolumeTokenizer(nn.Module):
    """Conv3d patches with their own positions, class position included; trainable (paper, section 2).

    A volume [N, 1, S, S, S] becomes (S / patch)^3 tokens; `positions` has one row more, for the class token.
    """

    def __init__(self, dim: int, volume_size: int, patch_size: int, generator: torch.Generator) -> None:
        """Take the token dimension, voxels a side of volume and patch, and the stream that initialises both tensors."""
        super().__init__()
        tokens = (volume_size // patch_size) ** 3
        self.projection = nn.Conv3d(1, dim, kernel_size=patch_size, stride=patch_size)
        self.positions = nn.Parameter(torch.empty(1, tokens + 1, dim))
        nn.init.kaiming_uniform_(self.projection.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(self.projection.bias)
        nn.init.trunc_normal_(self.positions, std=0.02, generator=generator)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map volumes [N, 1, S, S, S] to patch tokens [N, T, D], positions not yet added."""
        return self.projection(volumes).flatten(2).transpose(1, 2)
