"""What a model costs: tokens, and floating-point operations of a training step."""

from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from mosaic_pipeline.model.mosaic import Mosaic
from mosaic_pipeline.present import present

if TYPE_CHECKING:
    from mosaic_pipeline.config import Config


def tokens(config: "Config", dimension: int, prefix: int = 1) -> int:
    """Tokens of one image, of one volume or of all its slices, with the `prefix` tokens that stand before each."""
    model = config.model
    if dimension == 3 and model.slices:
        return model.slices * tokens(config, 2, prefix)
    patch = model.patch_size if dimension == 2 else model.volume_patch_size
    return (present(model.size(dimension)) // present(patch)) ** dimension + prefix


def training_flops(model: Mosaic, config: "Config", dataset: str) -> int:
    """Floating-point operations of one optimiser step on a batch of `dataset`.

    Counted by torch over the products of student forward, teacher forward and backward; the optimiser, the EMA and
    element-wise work are not counted. A product of n x k by k x m counts 2 n k m. `model` must be on the meta device.
    """
    dimension = config.datasets[dataset].dimension
    channels = 3 if dimension == 2 else 1
    # Volumes that the model cuts may be of any size: resizing slices is no product.
    side = config.model.size(dimension) or config.model.image_size
    shape = (config.train.batch_size, channels) + (side,) * dimension
    images = torch.empty(shape, device="meta")
    with FlopCounterMode(display=False) as counter:
        feature, logits = model(images, dataset)
        with torch.no_grad():
            model(images, dataset)  # the teacher's pass costs what the student's does
        (logits.sum() + feature.sum()).backward()
    return counter.get_total_flops()
