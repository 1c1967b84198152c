"""A whole scan through a model: slices of its grid, a batch at a time, and a class for each of its own voxels."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from scipy.ndimage import label as find_pieces
from torch import Tensor

from mosaic_pipeline.compute import autocast
from mosaic_pipeline.segmentation.data.grid import Grid, classes_from_grid, to_grid
from mosaic_pipeline.segmentation.data.intensity import Intensity
from mosaic_pipeline.segmentation.data.nifti import Scan
from mosaic_pipeline.segmentation.datasets import LabelledSet


class Slices(Protocol):
    """A model of slices: images float32 [B,S,S] of one dataset -> logits [B,C,S,S]."""

    training: bool

    def __call__(self, images: Tensor, dataset: str) -> Tensor:
        """Return the logits of the dataset's classes."""

    def train(self, mode: bool = True) -> object:
        """Switch between training and evaluation."""


@torch.inference_mode()
def segment(
    model: Slices,
    scan: Scan,
    dataset: LabelledSet,
    *,
    size: int,
    intensity: Intensity,
    device: torch.device,
    precision: str,
    batch_size: int,
    largest_component: bool = False,
) -> NDArray[np.uint8]:
    """Return the class of each voxel [X,Y,Z] of a scan; the model sees slices of `size` x `size` pixels.

    Logits are interpolated before the largest is taken, and those of `batch_size` slices are in memory at once, never
    those of the scan. With `largest_component` an organ is its largest piece.
    """
    voxels = scan.voxels
    slices = to_grid(intensity.normalise(voxels), scan.spacing, size)
    grid = Grid((voxels.shape[0], voxels.shape[1], voxels.shape[2]), scan.spacing, size)
    was_training = model.training
    model.train(False)
    try:
        classes = classes_from_grid(_logits(model, slices, dataset, device, precision, batch_size), grid)
    finally:
        model.train(was_training)
    return keep_largest(classes) if largest_component else classes


def keep_largest(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a map of classes [X,Y,Z] in which each is one piece, its largest; voxels hang together by their faces."""
    kept = classes.copy()
    for place, box in enumerate(find_objects(classes), start=1):
        if box is None:
            continue
        mask = classes[box] == place
        pieces, count = find_pieces(mask)
        if count > 1:
            sizes = np.bincount(pieces.ravel(order="K"))
            largest = 1 + int(sizes[1:].argmax())
            kept[box][mask & (pieces != largest)] = 0
    return kept


def _logits(
    model: Slices,
    slices: NDArray[np.float32],
    dataset: LabelledSet,
    device: torch.device,
    precision: str,
    batch_size: int,
) -> Iterator[Tensor]:
    for start in range(0, len(slices), batch_size):
        images = torch.from_numpy(slices[start : start + batch_size]).to(device)
        with autocast(device, precision):
            logits = model(images, dataset.name)
        if logits.shape[1] != dataset.num_classes:
            raise ValueError(f"{dataset.name} has {dataset.num_classes} classes, the model {logits.shape[1]}")
        yield logits
