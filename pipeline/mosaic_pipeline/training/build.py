"""A trainer for a configuration: the model around the backbone's file, on the device, with the splits it trains on."""

from typing import TYPE_CHECKING

import torch

from mosaic_pipeline.data.batches import Split
from mosaic_pipeline.layout import BACKBONE
from mosaic_pipeline.model.mosaic import build_mosaic
from mosaic_pipeline.processes import Processes
from mosaic_pipeline.training.trainer import CyclicTrainer
from mosaic_pipeline.weights.load import load_backbone

if TYPE_CHECKING:
    from mosaic_pipeline.config import Config
    from mosaic_pipeline.params import Compute


def build_trainer(
    config: "Config",
    *,
    train: dict[str, Split],
    val: dict[str, Split],
    seed: int,
    device: torch.device,
    compute: "Compute",
    processes: Processes,
) -> CyclicTrainer:
    """Return a trainer at its start. Raises PipelineError if the weights are not those of the configuration."""
    model = build_mosaic(config, load_backbone(BACKBONE, config.model), seed).to(device)
    if compute.compile:
        (share,) = processes.shares(config.train.batch_size, config.train.batch_size)
        model.compile_blocks({share.size, compute.eval_batch_size})
    return CyclicTrainer(
        model,
        config,
        train=train,
        val=val,
        seed=seed,
        device=device,
        eval_batch_size=compute.eval_batch_size,
        processes=processes,
    )
