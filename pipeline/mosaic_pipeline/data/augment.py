"""From stored bytes to what the network sees, a whole batch at a time on the device.

2D: horizontal flip (p = .5; never where classes tell left from right) and rotation by up to 15 degrees; 3D: brightness
+-0.1 and contrast 0.9 to 1.1, each with p = .5 (paper, section 3). The random numbers are drawn on the CPU, once for
each pass over a dataset, so that they are the same on every device and cost one transfer.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mosaic_pipeline.datasets import Dataset

MAX_ROTATION = math.radians(15)
MAX_BRIGHTNESS = 0.1
MAX_CONTRAST = 0.1

# What a checkpoint was trained on: mean and standard deviation of RGB in [0, 1].
Triple = tuple[float, float, float]
Statistics = tuple[Triple, Triple]
STATISTICS: dict[str, Statistics] = {
    "half": ((0.5,) * 3, (0.5,) * 3),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
HALF = STATISTICS["half"]


@dataclass(frozen=True)
class Draws:
    """Random numbers for N images. 2D: angle (radians) and flip (+-1); 3D: contrast factor and brightness offset."""

    first: Tensor
    second: Tensor

    def to(self, device: torch.device) -> "Draws":
        """Move to the device that augments."""
        return Draws(self.first.to(device), self.second.to(device))

    def take(self, rows: Tensor | slice) -> "Draws":
        """Return the draws of some images."""
        return Draws(self.first[rows], self.second[rows])


def draw(dataset: Dataset, count: int, generator: torch.Generator, flip_sided: bool = False) -> Draws:
    """Draw the augmentation of `count` images of a dataset; `flip_sided` flips left and right organs too."""

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    def coin() -> Tensor:
        return torch.rand(count, generator=generator) < 0.5

    if dataset.dimension == 2:
        angle, flip = uniform(-MAX_ROTATION, MAX_ROTATION), torch.where(coin(), -1.0, 1.0)
        return Draws(angle, torch.ones(count) if dataset.sided and not flip_sided else flip)
    contrast = torch.where(coin(), uniform(1 - MAX_CONTRAST, 1 + MAX_CONTRAST), 1.0)
    brightness = torch.where(coin(), uniform(-MAX_BRIGHTNESS, MAX_BRIGHTNESS), 0.0)
    return Draws(contrast, brightness)


def to_float(images: Tensor, dimension: int, size: int | None) -> Tensor:
    """Scale stored uint8 images to [0, 1] and resize them to `size` a side, unless that is None, channels first.

    [N, S, S] -> [N, 1, s, s]; [N, S, S, 3] -> [N, 3, s, s]; volumes [N, S, S, S] -> [N, 1, s, s, s].
    """
    colour = dimension == 2 and images.dim() == 4
    x = images.movedim(-1, 1) if colour else images.unsqueeze(1)
    x = x.float().div_(255)
    if size is None or x.shape[-1] == size:
        return x
    if dimension == 3:
        return _resize_volumes(x, size)
    return _resize_images(x, size)


def _resize_images(x: Tensor, size: int) -> Tensor:
    """[N, C, H, W] -> [N, C, s, s], low-pass filtered before it shrinks."""
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False, antialias=size < x.shape[-1])


def _resize_volumes(x: Tensor, size: int) -> Tensor:
    """[N, 1, S, S, S] -> [N, 1, s, s, s], low-pass filtered before it shrinks."""
    if size > x.shape[-1]:
        return F.interpolate(x, size=(size,) * 3, mode="trilinear", align_corners=False)
    # torch filters along two axes at most: height and width with depth as channels, then depth in the place of width.
    planes = _resize_images(x.squeeze(1), size)
    return _resize_images(planes.transpose(1, 3), size).transpose(1, 3).unsqueeze(1)


def augment(images: Tensor, draws: Draws) -> Tensor:
    """Apply each image's own draw to images in [0, 1]: [N, C, s, s] or [N, 1, s, s, s], shape kept."""
    if images.dim() == 5:
        shape = (-1, 1, 1, 1, 1)
        contrast, brightness = draws.first.view(shape), draws.second.view(shape)
        mean = images.mean(dim=(1, 2, 3, 4), keepdim=True)
        return ((images - mean) * contrast + mean + brightness).clamp_(0, 1)
    angle, flip = draws.first, draws.second
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    matrix = torch.stack([torch.stack([cos * flip, -sin, zero], 1), torch.stack([sin * flip, cos, zero], 1)], 1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def normalise(images: Tensor, statistics: Statistics = HALF) -> Tensor:
    """Map images in [0, 1] to what the ViT sees; grayscale 2D gets three equal channels.

    2D by the mean and std of `statistics`: to [-1, 1], or by those of what the checkpoint was trained on. Volumes go to
    [-1, 1]; who makes images of them or starts from the ViT's patches goes on to `statistics`.
    """
    if statistics == HALF or images.dim() == 5:
        x = images.sub(0.5).div_(0.5)
        return x.expand(-1, 3, -1, -1) if x.dim() == 4 and x.shape[1] == 1 else x
    mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in statistics)
    return images.expand(-1, 3, -1, -1).sub(mean).div_(std)
