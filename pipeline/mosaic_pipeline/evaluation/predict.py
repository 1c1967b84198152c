"""Scores of a model on one split of one dataset."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mosaic_pipeline.compute import autocast
from mosaic_pipeline.data.augment import normalise, to_float
from mosaic_pipeline.data.batches import InBatches, consecutive
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.model.mosaic import Mosaic
from mosaic_pipeline.processes import Processes

if TYPE_CHECKING:
    from mosaic_pipeline.config import Config


@torch.inference_mode()
def predict(
    model: Mosaic,
    split: InBatches,
    dataset: Dataset,
    *,
    config: "Config",
    batch_size: int,
    processes: Processes = Processes(),  # noqa: B008 - immutable
) -> np.ndarray:
    """Return probabilities float32 [N, C] in stored order: sigmoid for multi-label tasks, else softmax.

    Each of several processes scores a part of the split; all of them return the whole.
    """
    was_training = model.training
    model.eval()
    mine = processes.block(len(split))
    scores = [torch.empty((0, dataset.num_classes), device=split.device)]
    for batch in split.batches(consecutive(mine, batch_size)):
        scores.append(score(model, batch.images, dataset, config))
    model.train(was_training)
    return processes.gather(torch.cat(scores), len(split)).cpu().numpy()


def score(model: Mosaic, stored: Tensor, dataset: Dataset, config: "Config") -> Tensor:
    """Return probabilities float32 [N, C] of images uint8, as stored and on the model's device."""
    images = to_float(stored, dataset.dimension, config.model.size(dataset.dimension))
    images = normalise(images, model.statistics)
    with autocast(stored.device, config.precision):
        _, logits = model(images, dataset.name)
    logits = logits.float()
    return logits.sigmoid() if dataset.multi_label else logits.softmax(dim=1)
