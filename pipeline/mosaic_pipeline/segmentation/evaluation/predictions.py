"""Predictions as files that a viewer lays on their scan: the dataset's own label ids on the scan's own grid."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.segmentation.data.nifti import Scan, write_labels
from mosaic_pipeline.segmentation.datasets import LabelledSet


def write_prediction(path: Path, classes: NDArray[np.uint8], scan: Scan, dataset: LabelledSet) -> None:
    """Write classes [X,Y,Z] in RAS+ by the dataset's label ids; shape, affine and codes are the scan file's."""
    write_labels(path, dataset.to_ids(classes), scan)


def volumes_ml(classes: NDArray[np.uint8], scan: Scan, dataset: LabelledSet) -> dict[str, float]:
    """Return the volume of each organ in ml."""
    counts = np.zeros(dataset.num_classes, np.int64)
    for z in range(classes.shape[2]):  # by slices: counting needs eight bytes a voxel
        counts += np.bincount(classes[..., z].ravel(order="K"), minlength=dataset.num_classes)
    voxel = float(np.prod(scan.spacing)) / 1000
    return {organ: int(count) * voxel for organ, count in zip(dataset.organs, counts[1:], strict=True)}
