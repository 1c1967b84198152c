"""What the backbone alone sees in images and in volumes: its class tokens, before any specialist or 3D tokenizer."""

import torch
from torch import Tensor

from mosaic_pipeline.compute import autocast
from mosaic_pipeline.data.augment import Statistics, normalise, to_float
from mosaic_pipeline.model.vit import VisionTransformer

PLANES = 3


@torch.inference_mode()
def backbone_features(
    backbone: VisionTransformer, images: Tensor, *, size: int, statistics: Statistics, precision: str
) -> Tensor:
    """Return the class tokens after the final norm, float32 [N, D], of a batch of images as they are stored.

    `images` are uint8 on the backbone's device: [N, S, S], [N, S, S, 3] or volumes [N, S, S, S]. They are resized to
    `size` pixels a side and normalised as in an evaluation. Of a volume the features of its three middle planes are
    averaged, each seen as an image: a 3D tokenizer is trained, and says nothing of the backbone alone.
    """
    volumes = dimension_of(tuple(images.shape)) == 3
    planes = middle_planes(images) if volumes else images
    seen = normalise(to_float(planes, 2, size), statistics)
    with autocast(images.device, precision):
        features = backbone(seen).float()
    return features.unflatten(0, (-1, PLANES)).mean(dim=1) if volumes else features


def middle_planes(volumes: Tensor) -> Tensor:
    """Return the plane in the middle of each axis of volumes [N, S, S, S], as [3 N, S, S], those of one together."""
    middle = volumes.shape[-1] // 2
    planes = (volumes[:, middle], volumes[:, :, middle], volumes[:, :, :, middle])
    return torch.stack(planes, dim=1).flatten(0, 1)


def dimension_of(shape: tuple[int, ...]) -> int:
    """Return 2 or 3 for the shape of a batch of stored images or volumes; three values at the end are colours."""
    return 3 if len(shape) == 4 and shape[-1] != 3 else 2
