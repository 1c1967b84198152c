"""From volumes to tokens. The 2D tokenizer is the ViT's own patch embedding."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.model.vit import VisionTransformer


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


@torch.no_grad()
def inflate(tokenizer: VolumeTokenizer, backbone: VisionTransformer) -> None:
    """Start a 3D tokenizer from the ViT's own: kernel averaged over RGB, resized and repeated over depth.

    It is scaled so that a volume of one value gives the tokens of an image of that value. Positions are those of 2D,
    resized, the same at every depth; the class token's is copied. As in I3D (arXiv:1705.07750).
    """
    flat = backbone.patch_embed.proj.weight.float()
    patch = tokenizer.projection.kernel_size[0]
    kernel = F.interpolate(flat.mean(dim=1, keepdim=True), size=(patch, patch), mode="area")
    gain = flat[0].numel() / patch**3
    tokenizer.projection.weight.copy_(gain * kernel.unsqueeze(2).expand_as(tokenizer.projection.weight))
    tokenizer.projection.bias.copy_(backbone.patch_embed.proj.bias)

    cls, grid = backbone.pos_embed[:, :1], backbone.pos_embed[:, 1:]
    side = round((tokenizer.positions.shape[1] - 1) ** (1 / 3))
    image = grid.transpose(1, 2).unflatten(2, backbone.patch_embed.grid_size)
    resized = F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False)
    volume = resized.unsqueeze(2).expand(-1, -1, side, -1, -1).flatten(2).transpose(1, 2)
    tokenizer.positions.copy_(torch.cat([cls, volume], dim=1))
