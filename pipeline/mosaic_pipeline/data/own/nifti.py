"""NIfTI files, through nibabel."""

import logging
from pathlib import Path
from typing import cast

import numpy as np

from mosaic_pipeline.data.own.axes import to_canonical
from mosaic_pipeline.data.own.extra import needs
from mosaic_pipeline.data.own.picture import Picture, check_size, whole_span

SUFFIXES = (".nii", ".nii.gz")


def read_nifti(file: Path) -> Picture:
    """Return the volume of a file, turned. Raises whatever nibabel does, and ValueError."""
    with needs("nibabel", "NIfTI files"):
        import nibabel

    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # on headers that it mends
    image = cast("nibabel.Nifti1Image", nibabel.load(file))
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise ValueError(f"holds {list(image.shape)} values, where one volume of three axes is meant")
    check_size(shape)
    values = np.asanyarray(image.dataobj).reshape(shape, order="F")
    header = image.header
    placed = header["qform_code"] > 0 or header["sform_code"] > 0
    # Without a place in space the affine is made up, left-handed; the size of voxels holds all the same.
    directions = image.affine[:3, :3] if placed else np.diag(np.array(header.get_zooms()[:3], np.float64))
    turned, spacing, facts = to_canonical(values, directions)
    if not placed:
        facts += ("Without an orientation, taken as RAS",)
    span = whole_span(values) if values.dtype.kind != "f" else None  # scanners' numbers that happen to be below 1
    return Picture(turned, spacing, span, facts=("NIfTI file", *facts))
