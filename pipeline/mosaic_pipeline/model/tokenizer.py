"""From volumes to tokens. The 2D tokenizer is the ViT's own patch embedding."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mosaic_pipeline.data.augment import HALF, Statistics
from mosaic_pipeline.model.vit import VisionTransformer
from mosaic_pipeline.present import present


class VolumeTokenizer(nn.Module):
    """Conv3d patches with their own positions, class position included; trainable (paper, section 2).

    A volume [N, 1, S, S, S] becomes (S / patch)^3 tokens; `positions` has a row more for the class token, and for each
    other token that the ViT puts before the patches.
    """

    def __init__(self, dim: int, volume_size: int, patch_size: int, prefix: int, generator: torch.Generator) -> None:
        """Take the token dimension, voxels a side of volume and patch, and the number of tokens before the patches.

        `generator` is the stream that initialises kernel and positions.
        """
        super().__init__()
        tokens = (volume_size // patch_size) ** 3
        self.projection = nn.Conv3d(1, dim, kernel_size=patch_size, stride=patch_size)
        self.positions = nn.Parameter(torch.empty(1, prefix + tokens, dim))
        nn.init.kaiming_uniform_(self.projection.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(present(self.projection.bias))
        nn.init.trunc_normal_(self.positions, std=0.02, generator=generator)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map volumes [N, 1, S, S, S] to patch tokens [N, T, D], positions not yet added."""
        return self.projection(volumes).flatten(2).transpose(1, 2)


@torch.no_grad()
def inflate(tokenizer: VolumeTokenizer, backbone: VisionTransformer, statistics: Statistics = HALF) -> None:
    """Start a 3D tokenizer from the ViT's own: kernel averaged over RGB, resized and repeated over depth.

    It is scaled so that a volume of one value gives the tokens of an image of that value, also where the ViT sees
    images by other `statistics` than the [-1, 1] of volumes. Positions are those of 2D, resized, the same at every
    depth; those of class token and registers are copied, and zero where the ViT has none. As in I3D (arXiv:1705.07750).
    """
    flat, bias = _for_volumes(backbone, statistics)
    patch = tokenizer.projection.kernel_size[0]
    kernel = _by_area(flat.mean(dim=1, keepdim=True), patch)
    gain = flat[0].numel() / patch**3
    tokenizer.projection.weight.copy_(gain * kernel.unsqueeze(2).expand_as(tokenizer.projection.weight))
    present(tokenizer.projection.bias).copy_(bias)

    count = backbone.pos_embed.shape[1] - backbone.patch_embed.num_patches
    prefix, grid = backbone.pos_embed[:, :count], backbone.pos_embed[:, count:]
    if not count:
        prefix = prefix.new_zeros(1, backbone.num_prefix_tokens, grid.shape[-1])
    side = round((tokenizer.positions.shape[1] - backbone.num_prefix_tokens) ** (1 / 3))
    image = grid.transpose(1, 2).unflatten(2, backbone.patch_embed.grid_size)
    resized = F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False)
    volume = resized.unsqueeze(2).expand(-1, -1, side, -1, -1).flatten(2).transpose(1, 2)
    tokenizer.positions.copy_(torch.cat([prefix, volume], dim=1))


def _by_area(kernel: Tensor, size: int) -> Tensor:
    """Resize kernels [D, 1, P, P] so that each pixel counts by the area that it shares with a new one.

    That keeps a kernel's mean. Of sizes where none divides the other, torch's "area" takes windows that overlap.
    """
    own = kernel.shape[-1]
    if own % size == 0:
        return F.interpolate(kernel, size=(size, size), mode="area")
    edges = torch.arange(size + 1, dtype=torch.float64) * own / size
    pixels = torch.arange(own, dtype=torch.float64)
    lower = torch.maximum(edges[:-1, None], pixels)
    upper = torch.minimum(edges[1:, None], pixels + 1)
    shares = ((upper - lower).clamp(min=0) * (size / own)).to(kernel.device)
    return (shares @ kernel.double() @ shares.T).to(kernel.dtype)


def _for_volumes(backbone: VisionTransformer, statistics: Statistics) -> tuple[Tensor, Tensor]:
    """Return kernel [D, 3, P, P] and bias [D] of the ViT's patches for gray images in [-1, 1], as volumes are."""
    projection = backbone.patch_embed.proj
    kernel = projection.weight.float()
    bias = kernel.new_zeros(len(kernel)) if projection.bias is None else projection.bias
    if statistics == HALF:
        return kernel, bias
    mean, std = (kernel.new_tensor(values).view(3, 1, 1) for values in statistics)
    return kernel * (0.5 / std), bias + (kernel * ((0.5 - mean) / std)).sum(dim=(1, 2, 3))
