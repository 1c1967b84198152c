"""Scores of a model on one split of one dataset."""

import numpy as np
import torch

from pipeline.compute import autocast
from pipeline.data.augment import normalise, to_float
from pipeline.data.batches import Split
from pipeline.datasets import Dataset
from pipeline.model.mosaic import Mosaic


@torch.inference_mode()
def predict(model: Mosaic, split: Split, dataset: Dataset, *, size: int, batch_size: int, precision: str) -> np.ndarray:
    """Return probabilities float32 [N, C] in stored order: sigmoid for multi-label tasks, else softmax."""
    was_training = model.training
    model.eval()
    scores = []
    for batch in split.batches(batch_size):
        images = normalise(to_float(batch.images, dataset.dimension, size))
        with autocast(split.device, precision):
            _, logits = model(images, dataset.name)
        logits = logits.float()
        scores.append(logits.sigmoid() if dataset.multi_label else logits.softmax(dim=1))
    model.train(was_training)
    return torch.cat(scores).cpu().numpy()
