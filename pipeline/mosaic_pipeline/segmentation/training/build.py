"""A trainer for a configuration: the network on the device, with the slices that it trains on."""

from typing import TYPE_CHECKING

import torch

from mosaic_pipeline.layout import SWIN
from mosaic_pipeline.processes import Processes
from mosaic_pipeline.segmentation.model.build import build_m4oe
from mosaic_pipeline.segmentation.model.start import start_from
from mosaic_pipeline.segmentation.training.trainer import SegmentationTrainer

if TYPE_CHECKING:
    from mosaic_pipeline.params import Compute
    from mosaic_pipeline.segmentation.config import Config
    from mosaic_pipeline.segmentation.data.slices import Slices


def build_trainer(
    config: "Config",
    *,
    train: "dict[str, Slices]",
    val: "dict[str, Slices]",
    seed: int,
    device: torch.device,
    compute: "Compute",
    processes: Processes,
) -> SegmentationTrainer:
    """Return a trainer at its start. Raises PipelineError if the weights are not those of the configuration."""
    model = build_m4oe(config, seed)
    if config.model.weights:
        start_from(model, SWIN)
    model = model.to(device)
    return SegmentationTrainer(
        model,
        config,
        train=train,
        val=val,
        seed=seed,
        device=device,
        eval_batch_size=compute.eval_batch_size,
        processes=processes,
    )
