"""Gradient conflict along a training: in which directions the datasets pull a specialist that they all share."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mosaic_pipeline.compute import autocast
from mosaic_pipeline.data.augment import normalise, to_float
from mosaic_pipeline.data.batches import Split, consecutive
from mosaic_pipeline.data.subset import stratified_subset
from mosaic_pipeline.model.mosaic import Mosaic
from mosaic_pipeline.present import present
from mosaic_pipeline.training.class_weights import class_weights
from mosaic_pipeline.training.cosines import cosine_matrix
from mosaic_pipeline.training.losses import classification_loss

if TYPE_CHECKING:
    from mosaic_pipeline.config import Config

# Decimals kept of a cosine: fewer than those in which ways of summing differ.
DECIMALS = 6


def measure_conflicts(model: Mosaic, config: "Config", train: Mapping[str, Split]) -> dict[str, Any]:
    """Compare the datasets' gradients of their one specialist by the cosine; below zero they are in conflict.

    On `train.conflict_cases` training cases of each dataset, every class among them, always the same. Returns the
    cosines [D, D] in the order of the datasets, and the cosines [D] between the gradients of two halves of a dataset's
    cases: what noise leaves of a cosine of one, with half as many cases. None for a gradient of zero.
    """
    (specialist,) = model.specialists.values()
    vectors, agreement = [], []
    for name in config.datasets:
        split = train[name]
        halves = halve(split.labels.cpu().numpy(), present(config.train.conflict_cases))
        gradients = [mean_gradient(model, specialist, config, split, name, rows) for rows in halves]
        agreement.append(cosine_matrix(gradients)[0][1])
        share = len(halves[0]) / sum(map(len, halves))
        vectors.append(torch._foreach_lerp(gradients[1], gradients[0], share))
    return {"cosine": [_kept(row) for row in cosine_matrix(vectors)], "halves": _kept(agreement)}


def halve(labels: np.ndarray, limit: int) -> tuple[Tensor, Tensor]:
    """Choose at most `limit` rows of `labels` [N, L], stratified: every second one of each class, and the others."""
    rows = stratified_subset(labels, limit)
    by_class = rows[np.lexsort(labels[rows].T)]
    return torch.from_numpy(np.sort(by_class[::2])), torch.from_numpy(np.sort(by_class[1::2]))


def mean_gradient(
    model: Mosaic, specialist: torch.nn.Module, config: "Config", split: Split, name: str, rows: Tensor
) -> list[Tensor]:
    """Return the specialist's gradient of the mean classification loss over rows of a split, a tensor per parameter.

    The images are not augmented. At the weights as they are: no parameter moves, and none has its `grad` set.
    """
    dataset, parameters = config.datasets[name], list(specialist.parameters())
    total = [torch.zeros_like(parameter) for parameter in parameters]
    weights = class_weights(config.train.class_weights, dataset, split.labels)
    # As large as a step's, which fits: how many images validation takes at a time must not decide a result.
    for batch in split.batches(consecutive(slice(0, len(rows)), config.train.batch_size), rows):
        images = to_float(batch.images, dataset.dimension, config.model.size(dataset.dimension))
        with autocast(split.device, config.precision):
            _, logits = model(normalise(images, model.statistics), name)
        loss = classification_loss(logits.float(), batch.labels, multi_label=dataset.multi_label, weights=weights)
        share = len(batch.labels) / len(rows)
        torch._foreach_add_(total, torch.autograd.grad(loss, parameters), alpha=share)
    return total


def _kept(values: Sequence[float]) -> list[float | None]:
    return [round(value, DECIMALS) if math.isfinite(value) else None for value in values]
