"""PNG, JPEG, TIFF and BMP files, through Pillow: one image, or the pages of a TIFF as the slices of a volume."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.data.own.picture import Picture, check_size, whole_span

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

_ORIENTATION = 0x0112  # of the tags of EXIF and TIFF; 1 is upright
# What an array has without a change of values; a palette's colours are looked up, Y'CbCr is how JPEGs store RGB.
_AS_THEY_ARE = ("1", "L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16B", "I;16L")
_LOOKED_UP = {"P": "RGB", "PA": "RGBA", "YCbCr": "RGB"}


def read_image(file: Path, dimension: int) -> Picture:
    """Return an image, or for `dimension` 3 a volume, as the file has it. Raises whatever Pillow does, ValueError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on tags that say nothing here
        # Pillow warns of a file made to fill memory at another size than ours, and refuses it at a third one.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=FORMATS) as image:
                return _read(image, dimension)
        except UnidentifiedImageError:
            what = "empty, no image" if not file.stat().st_size else f"no image of {', '.join(FORMATS)}"
            raise ValueError(what) from None


def _read(image: Image.Image, dimension: int) -> Picture:
    pages = getattr(image, "n_frames", 1)
    if dimension == 2 and pages > 1:
        raise ValueError(f"holds {pages} images, where one is meant")
    check_size((pages, image.height, image.width) if dimension == 3 else (image.height, image.width))
    format, facts = image.format, []
    if any(";16" in str(tile[-1]) for tile in image.tile) and image.mode in ("LA", "RGB", "RGBA"):
        facts.append("16 bits a channel, of which the lower 8 were left out")
    if dimension == 2:
        if image.getexif().get(_ORIENTATION, 1) != 1:
            facts.append("Turned upright, as the file says")
        values = _values(ImageOps.exif_transpose(image), facts)
    else:
        slices = []
        for page in range(pages):
            image.seek(page)
            slices.append(_values(image, facts))
        if len({part.shape for part in slices}) > 1:
            raise ValueError("its pages differ in size")
        values = np.stack(slices)
    return Picture(values, (1.0,) * dimension, whole_span(values), facts=(f"{format} file", *dict.fromkeys(facts)))


def _values(image: Image.Image, facts: list[str]) -> NDArray:
    if image.mode in _LOOKED_UP or "transparency" in image.info:
        # A colour that is called transparent is one that is not there, whether as a channel or as a colour's number.
        mode = "RGBA" if "transparency" in image.info else _LOOKED_UP[image.mode]
        if image.mode.startswith("P"):
            facts.append("Colours of a palette looked up")
        image = image.convert(mode)
    elif image.mode not in _AS_THEY_ARE:
        raise ValueError(f"colours are {image.mode}; write it as grey or RGB")
    return np.asarray(image)
