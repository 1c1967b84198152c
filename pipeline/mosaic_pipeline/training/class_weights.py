"""What each class counts in the loss: `train.class_weights`."""

from typing import Literal

import torch
from torch import Tensor

from mosaic_pipeline.datasets import Dataset


def class_weights(kind: Literal["balanced"] | None, dataset: Dataset, labels: Tensor) -> Tensor | None:
    """Return the weights [C] that the training labels [N, L] of a dataset give, float32 on their device; None = alike.

    `balanced`: a case counts n / (k n_class), with the k classes that occur, so that the mean over all cases is 1; of
    several labels, a yes counts n_no / n_yes times a no. A class or a yes that does not occur has the weight 0.
    """
    if kind is None:
        return None
    n, counts = len(labels), labels.cpu()
    if dataset.multi_label:
        counts = counts.sum(dim=0)
        weights = (n - counts) / counts
    else:
        counts = counts[:, 0].bincount(minlength=dataset.num_classes)
        weights = n / ((counts > 0).sum() * counts)
    return torch.where(counts > 0, weights, 0).to(labels.device)
