"""One image or volume by its file, whatever its kind; readers of kinds that are not met are not imported."""

from pathlib import Path

from mosaic_pipeline.arrays import map_array
from mosaic_pipeline.data.own import dicom, nifti
from mosaic_pipeline.data.own.picture import Picture, check_size, check_values, whole_span

_ARRAY = ".npy"


def read_picture(file: Path, dimension: int) -> Picture:
    """Return what a file holds, or a folder with a DICOM series. Raises ValueError and whatever its reader does."""
    name = file.name.lower()
    if file.is_dir():
        if dimension == 2:
            raise ValueError("a folder, where an image is meant")
        return dicom.read_dicom(file, dimension)
    if name.endswith(nifti.SUFFIXES):
        if dimension == 2:
            raise ValueError("a volume, but dimension is 2")
        return nifti.read_nifti(file)
    if name.endswith(_ARRAY):
        values = map_array(file)
        check_size(values.shape)
        check_values(values)
        return Picture(values, (1.0,) * dimension, whole_span(values), facts=("npy file",))
    if name.endswith(dicom.SUFFIXES) or begins_like_dicom(file):
        return dicom.read_dicom(file, dimension)
    from mosaic_pipeline.data.own.image import read_image

    return read_image(file, dimension)


def begins_like_dicom(file: Path) -> bool:
    """Whether a file is DICOM by its first bytes; many have no suffix."""
    with open(file, "rb") as opened:
        return opened.read(132)[128:] == b"DICM"
