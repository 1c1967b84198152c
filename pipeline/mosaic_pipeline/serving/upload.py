"""A file in a request: PNG, JPEG, npy or NIfTI in base64, prepared as `mosaic predict` prepares one that lies there.

Its kind is told by its first bytes, and its size by its header before anything is unpacked. Readers want a path: it
lies in a folder of its own for as long, that nobody else may enter, under a name that no request has a say in.
"""

import base64
import binascii
import tempfile
import warnings
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.arrays import map_array
from mosaic_pipeline.bundle.inputs import MOST, InputError
from mosaic_pipeline.bundle.manifest import Preparation
from mosaic_pipeline.data.own.files import read_picture
from mosaic_pipeline.prediction.run import prepare
from mosaic_pipeline.reading import reason
from mosaic_pipeline.serving.nifti_header import nifti_shape

# Pixels or voxels of all files of a request together, once they are unpacked: a volume of 512 a side.
MOST_PIXELS = MOST[3] ** 3
KINDS = "PNG, JPEG, npy or NIfTI"

_BEGINNINGS = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg", b"\x93NUMPY": ".npy", b"\x1f\x8b": ".nii.gz"}
_NIFTI = slice(344, 348)  # where a NIfTI that is one file says so
_LONGEST = 200  # characters of why


class Budget:
    """The pixels that the files of a request may still have."""

    def __init__(self) -> None:
        """All are left."""
        self._left = MOST_PIXELS

    def take(self, shape: tuple[int, ...]) -> None:
        """Take those of a file. Raises ValueError if there are not as many."""
        self._left -= prod(shape)
        if self._left < 0:
            raise ValueError(f"the files of a request have more than {MOST_PIXELS:,} pixels; send fewer, or smaller")


def read_upload(text: str, place: str, preparation: Preparation, budget: Budget) -> NDArray[np.uint8]:
    """Return the image of a file in base64 as those of its dataset are stored. Raises InputError, which names `place`.

    What a library says of a file is not passed on, since it may quote it.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{place}: is text, but no base64; a file must be in base64, in one line") from None
    suffix = _suffix(content, place)
    with tempfile.TemporaryDirectory(prefix="mosaic-") as folder:
        file = Path(folder) / f"image{suffix}"
        file.write_bytes(content)
        try:
            budget.take(_size(file, suffix))
            return prepare(read_picture(file, preparation.dimension), preparation)
        except MemoryError:
            raise
        except Exception as error:
            said = f"cannot be read, or is damaged ({suffix[1:]})"
            if _is_ours(error):
                said = reason(error).replace(str(file), "the file")[:_LONGEST]
            raise InputError(f"{place}: {said}") from None


def _suffix(content: bytes, place: str) -> str:
    for beginning, suffix in _BEGINNINGS.items():
        if content.startswith(beginning):
            return suffix
    if content[_NIFTI] in (b"n+1\0", b"n+2\0") or content[4:8] == b"n+2\0":
        return ".nii"
    raise InputError(f"{place}: is no {KINDS} file by its first bytes")


def _size(file: Path, suffix: str) -> tuple[int, ...]:
    """Return the shape that a file says to have, from its header alone."""
    if suffix == ".npy":
        return map_array(file).shape
    if suffix in (".nii", ".nii.gz"):
        return nifti_shape(file)
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=("PNG", "JPEG")) as picture:
                return (getattr(picture, "n_frames", 1), *picture.size)
        except Image.DecompressionBombError:  # which Pillow asks before we can
            return (MOST_PIXELS + 1,)


def _is_ours(error: Exception) -> bool:
    """Whether this package's own code raised an error, in words that quote no file."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("mosaic_pipeline.")
