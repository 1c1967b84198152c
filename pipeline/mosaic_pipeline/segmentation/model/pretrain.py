"""Masked modelling of slices (arXiv:2111.09886): what is hidden is to be guessed from what is left.

The authors of M4oE pre-train each modality's expert so ("we used the generation as the proxy tasks", csyfjiang/M4oE,
issue 8). Here the whole trunk takes part, through each dataset's own expert.
"""

import torch
from torch import Tensor, nn

from mosaic_pipeline.segmentation.model.swin_unet import SwinUnet


class Reconstruction(nn.Module):
    """What stands for hidden patches, and the map from a pixel's feature to its value."""

    def __init__(self, dim: int) -> None:
        """Take the dimension D of tokens and features."""
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.value = nn.Linear(dim, 1)

    def forward(self, trunk: SwinUnet, x: Tensor, masked: Tensor) -> Tensor:
        """Return images [N, S, S] from tokens [N, G, G, D], those below a mask of coarsest tokens hidden."""
        hidden = _enlarged(masked, x.shape[1])[..., None]
        features = trunk(torch.where(hidden, self.mask_token.to(x.dtype), x))
        return self.value(features).float().squeeze(-1)


def draw_masks(count: int, side: int, ratio: float, generator: torch.Generator) -> Tensor:
    """Draw masks [count, side, side] on the CPU, each with the same number of True: by `ratio`, but not none nor all.

    `side` is the coarsest stage's: of tokens that see hidden and seen pixels at once nothing would have to be guessed.
    """
    cells = side * side
    hidden = min(max(round(ratio * cells), 1), cells - 1)
    order = torch.rand(count, cells, generator=generator).argsort(dim=1)
    return (order < hidden).view(count, side, side)


def reconstruction_loss(predicted: Tensor, images: Tensor, masked: Tensor) -> Tensor:
    """Mean absolute difference of images [N, S, S] over the pixels below masks [N, G, G]."""
    hidden = _enlarged(masked, images.shape[1])
    return ((predicted - images).abs() * hidden).sum() / hidden.sum()


def _enlarged(masks: Tensor, side: int) -> Tensor:
    factor = side // masks.shape[1]
    return masks.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
