"""What a step minimises: cross-entropy and Dice of the classes of one dataset.

Both come from sums over pixels by class, without a gather or a scatter, so that they are the same to the bit each time
on every device.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from mosaic_pipeline.processes import Processes

# As in the public code, for empty masks.
EPSILON = 1e-5


def class_weights(pixels: Sequence[int], exponent: float) -> Tensor | None:
    """Return what a pixel of each class counts: its class's share of all pixels to the power of -exponent.

    They are 1 on average over the pixels of the training split; None with an exponent of 0. A class that never occurs
    has weight 0. Without weights a small Swin learns little but background in its first hundreds of steps.
    """
    if exponent == 0:
        return None
    counts = torch.tensor(pixels, dtype=torch.float64)
    weights = torch.where(counts > 0, counts.clamp(min=1).pow(-exponent), 0.0)
    return (weights * counts.sum() / (weights * counts).sum()).float()


def segmentation_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    ce: float,
    dice: float,
    dice_form: Literal["foreground", "released"] | None = "foreground",
    weights: Tensor | None = None,
    share: float = 1.0,
    processes: Processes = Processes(),  # noqa: B008 - immutable
) -> Tensor:
    """Return `ce` times cross-entropy plus `dice` times Dice, of logits [N, C, S, S] and classes [N, S, S].

    Dice is of a batch as a whole. `foreground` is the mean over organs that are somewhere in it, of
    1 - 2 sum(p t) / (sum p + sum t); `released`, of the public code, the mean over all classes with background, of
    1 - 2 sum(p t) / (sum p^2 + sum t^2), EPSILON added above and below. `weights` [C] are of the cross-entropy.
    Of a part of a batch, `share` is a `Share.weight`: the average of all processes' gradients is then that of the loss
    of the whole batch, and so is the average of their values.
    """
    logs = logits.log_softmax(dim=1)
    targets = (labels[:, None] == torch.arange(logits.shape[1], device=labels.device)[:, None, None]).to(logs.dtype)
    by_class = -(logs * targets).sum(dim=(0, 2, 3))
    loss = ce * share * (by_class if weights is None else by_class * weights).sum() / labels.numel()
    if not dice:
        return loss
    probabilities, released = logs.exp(), dice_form == "released"
    parts = (probabilities * targets, probabilities.square() if released else probabilities, targets)
    own = torch.stack([part.sum(dim=(0, 2, 3)) for part in parts])
    if processes.count > 1:
        own = own * float(share > 0)
        # Differentiated by this process's images; the others' are constant to it.
        own = own + (processes.sum(own.detach()) - own.detach())
    both, predicted, there = own
    losses = 1 - (2 * both + EPSILON) / (predicted + there + EPSILON)
    if not released:
        present = there > 0
        present[0] = False
        losses = losses * present
    found = losses.sum() / (len(losses) if released else present.sum().clamp(min=1))
    # Averaging over processes would leave one part in `count` of a gradient that each has a part of.
    return loss + dice * (found.detach() + processes.count * (found - found.detach()))
