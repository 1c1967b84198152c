"""Rotation, scale and intensity of slices and their masks, a whole batch at a time on the device.

The random numbers are drawn on the CPU, once for each pass over a dataset, so that they are the same on every device
and for any number of processes. Nothing is mirrored unless asked for: kidneys and adrenal glands have sides.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from mosaic_pipeline.segmentation.config import Augment


@dataclass(frozen=True)
class Draws:
    """Random numbers for N slices: where each pixel is taken from [N, 2, 2], contrast factor and brightness [N]."""

    matrix: Tensor
    contrast: Tensor
    brightness: Tensor

    def to(self, device: torch.device) -> "Draws":
        """Move to the device that augments."""
        return Draws(self.matrix.to(device), self.contrast.to(device), self.brightness.to(device))

    def take(self, rows: Tensor | slice) -> "Draws":
        """Return the draws of some slices."""
        return Draws(self.matrix[rows], self.contrast[rows], self.brightness[rows])


def draw(augment: "Augment", count: int, generator: torch.Generator) -> Draws:
    """Draw the augmentation of `count` slices: rotation up to `rotate` degrees, scale within 1 +- `scale`.

    Contrast is within 1 +- `intensity`, brightness within +- that of half the range of values. With `flip`, as in the
    public code, a slice is also turned by quarters and mirrored: one of eight ways.
    """

    def uniform(centre: float, width: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * width + centre

    angle, scale = uniform(0, math.radians(augment.rotate)), uniform(1, augment.scale)
    contrast, brightness = uniform(1, augment.intensity), uniform(0, augment.intensity)
    mirror = torch.ones(count)
    if augment.flip:
        angle = angle + torch.randint(4, (count,), generator=generator) * (math.pi / 2)
        mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    matrix = torch.stack([torch.stack([cos * mirror, -sin], 1), torch.stack([sin * mirror, cos], 1)], 1)
    return Draws(matrix, contrast, brightness)


def augment(images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Apply each slice's own draw to an image in [-1, 1] and its mask, both [N, S, S]: the same map, labels nearest.

    What comes in from outside continues the edge.
    """
    theta = torch.cat([draws.matrix, torch.zeros_like(draws.matrix[..., :1])], dim=-1)
    grid = F.affine_grid(theta, [len(images), 1, *images.shape[1:]], align_corners=False)

    def sampled(values: Tensor, mode: str) -> Tensor:
        return F.grid_sample(values[:, None], grid, mode=mode, padding_mode="border", align_corners=False)[:, 0]

    moved = sampled(images, "bilinear")
    mean = moved.mean(dim=(1, 2), keepdim=True)
    contrast, brightness = draws.contrast[:, None, None], draws.brightness[:, None, None]
    changed = ((moved - mean) * contrast + mean + brightness).clamp_(-1, 1)
    return changed, sampled(labels.to(images.dtype), "nearest").to(labels.dtype)
