"""In which directions datasets pull what they share: cosines between their gradients at the trained weights."""

from typing import Any

import torch
from torch import Tensor

from mosaic_pipeline.compute import autocast
from mosaic_pipeline.data.batches import consecutive
from mosaic_pipeline.segmentation.analysis.subject import Chosen, Subject
from mosaic_pipeline.segmentation.training.losses import class_weights, segmentation_loss
from mosaic_pipeline.training.cosines import cosine_matrix


def conflicts(subject: Subject) -> dict[str, Any] | None:
    """Compare the datasets' gradients of the loss on what a batch of every dataset trains; below zero they conflict.

    On validation slices, not augmented. Returns the datasets, the cosines [D, D], the cosines [D] between the gradients
    of two halves of a dataset's slices, every second one: what noise leaves of a cosine of one, with half as many; and
    how many parameters are shared. None with fewer than two datasets, or where they share nothing.
    """
    model = subject.model
    active = [dict(model.active_parameters(name)) for name in subject.slices]
    shared = [parameter for name, parameter in active[0].items() if all(name in others for others in active)]
    if len(active) < 2 or not shared:
        return None
    gradients, halves = [], []
    for name, chosen in subject.slices.items():
        parts = [chosen.take(start, 2) for start in range(min(2, len(chosen)))]
        found = [_gradient(subject, name, part, shared) for part in parts]
        halves.append(cosine_matrix(found)[0][-1] if len(found) == 2 else None)
        gradients.append(
            [
                sum(len(part) / len(chosen) * each for part, each in zip(parts, tensors, strict=True))
                for tensors in zip(*found, strict=True)
            ]
        )
    return {
        "datasets": list(subject.slices),
        "cosine": cosine_matrix(gradients),
        "halves": halves,
        "parameters": sum(parameter.numel() for parameter in shared),
    }


def _gradient(subject: Subject, name: str, chosen: Chosen, parameters: list[torch.nn.Parameter]) -> list[Tensor]:
    """Return the gradient of the mean loss over slices; no parameter moves, and none has its `grad` set."""
    recipe = subject.model.config.train
    weights = class_weights(subject.class_voxels[name], recipe.class_weight)
    weights = None if weights is None else weights.to(chosen.device)
    total = [torch.zeros_like(parameter) for parameter in parameters]
    # As large as a step's: how many slices validation takes at a time must not decide a result.
    for batch in chosen.batches(consecutive(slice(0, len(chosen)), recipe.batch_size)):
        with autocast(chosen.device, subject.precision):
            predicted = subject.model(batch.images.float(), name)
        loss = segmentation_loss(
            predicted, batch.labels, ce=recipe.ce, dice=recipe.dice, dice_form=recipe.dice_form, weights=weights
        )
        found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        torch._foreach_add_(total, found, alpha=len(batch.images) / len(chosen))
    return total
