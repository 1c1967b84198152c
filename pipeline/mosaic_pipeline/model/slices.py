"""Volumes without a 3D tokenizer: slices through the 2D ViT, and an attention that pools their class features.

The usual way to use a 2D backbone on volumes; as in attention-based multiple-instance learning (arXiv:1802.04712), with
positions, because slices have an order.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mosaic_pipeline.data.augment import HALF, Statistics, normalise


class SliceAttention(nn.Module):
    """Cuts volumes into images, and weighs their class features by one learned query.

    Query and positions start at zero, where every slice weighs the same: the feature is the mean over slices.
    """

    def __init__(self, dim: int, slices: int, image_size: int, statistics: Statistics = HALF) -> None:
        """Take the token dimension D, the number S of slices of a volume, and what the ViT sees.

        That is images of `image_size` pixels a side, by the mean and std of `statistics`.
        """
        super().__init__()
        self.statistics = statistics
        self.image_size = image_size
        self.query = nn.Parameter(torch.zeros(dim))
        self.positions = nn.Parameter(torch.zeros(slices, dim))

    def cut(self, volumes: Tensor) -> Tensor:
        """Return equidistant slices of volumes [N, 1, V, V, V] in [-1, 1], along the first axis, as [N S, 3, H, H].

        The volume falls into S equal parts, and each slice is the middle of one.
        """
        slices, depth = len(self.positions), volumes.shape[2]
        middles = [(2 * part + 1) * depth // (2 * slices) for part in range(slices)]
        images = volumes[:, 0, middles].flatten(0, 1).unsqueeze(1)
        size, side = (self.image_size,) * 2, volumes.shape[-1]
        if side != self.image_size:
            smaller = self.image_size < side
            images = F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=smaller)
        if self.statistics != HALF:
            images = normalise(images * 0.5 + 0.5, self.statistics)
        return images.expand(-1, 3, -1, -1)

    def forward(self, features: Tensor) -> Tensor:
        """Pool the class features [N S, D] of the slices to those of the volumes, [N, D]."""
        x = features.unflatten(0, (-1, len(self.positions))) + self.positions
        weights = (x @ self.query / len(self.query) ** 0.5).softmax(dim=1)
        return (weights.unsqueeze(-1) * x).sum(dim=1)
