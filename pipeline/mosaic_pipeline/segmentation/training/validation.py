"""What a model knows of the validation slices: the DSC of whole volumes on the network's grid."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mosaic_pipeline.compute import autocast
from mosaic_pipeline.data.batches import InBatches, consecutive
from mosaic_pipeline.segmentation.model.m4oe import M4oE
from mosaic_pipeline.segmentation.model.pretrain import reconstruction_loss

if TYPE_CHECKING:
    from mosaic_pipeline.segmentation.data.slices import Slices
    from mosaic_pipeline.segmentation.datasets import LabelledSet


class Placed(InBatches, Protocol):
    """Slices of which `where` [N, 2] says the case and the place along z."""

    where: NDArray[np.int32]


class Segments(Protocol):
    """What scores slices as a model does."""

    def __call__(self, images: Tensor, dataset: str, /) -> Tensor:
        """Return the logits of slices."""

    def eval(self) -> object:
        """Enter evaluation mode."""

    def train(self) -> object:
        """Enter training mode."""


@torch.inference_mode()
def organ_dsc(
    model: Segments, split: Placed, name: str, dataset: "LabelledSet", *, precision: str, batch_size: int
) -> dict[str, float]:
    """Return each organ's DSC, the mean over cases that have it or in which it was found; nan where no case has it.

    A case's slices are taken together: DSC = 2 |A and B| / (|A| + |B|) of the volume.
    """
    classes, device = dataset.num_classes, split.device
    cases = torch.from_numpy(split.where[:, 0].astype("int64")).to(device)
    _, cases = cases.unique(return_inverse=True)
    counts = torch.zeros((int(cases.max()) + 1, 3, classes), dtype=torch.float64, device=device)
    model.eval()
    rows = consecutive(slice(0, len(split)), batch_size)
    for taken, batch in zip(rows, split.batches(rows), strict=True):
        with autocast(device, precision):
            predicted = model(batch.images.float(), name).argmax(dim=1)
        index = torch.arange(classes, device=device)[:, None, None]
        a, b = (each[:, None] == index for each in (predicted, batch.labels))
        found = torch.stack([(a & b).sum((2, 3)), a.sum((2, 3)), b.sum((2, 3))], dim=1)
        counts.index_add_(0, cases[taken], found.double())
    model.train()
    both, predicted, there = counts[:, :, 1:].unbind(dim=1)
    dsc = 2 * both / (predicted + there)  # nan where neither is
    dsc = torch.where((there > 0).any(dim=0), dsc.nanmean(dim=0), torch.nan)
    return dict(zip(dataset.organs, dsc.tolist(), strict=True))


@torch.inference_mode()
def reconstruction_error(
    model: M4oE, split: "Slices", name: str, masked: Tensor, *, precision: str, batch_size: int
) -> float:
    """Return the mean absolute error of what masks hide [N, G, G] of the validation slices."""
    total = 0.0
    model.eval()
    rows = consecutive(slice(0, len(split)), batch_size)
    for taken, batch in zip(rows, split.batches(rows), strict=True):
        images = batch.images.float()
        with autocast(split.device, precision):
            predicted = model(images, name, masked=masked[taken])
        total += float(reconstruction_loss(predicted.float(), images, masked[taken])) * len(images)
    model.train()
    return total / len(split)
