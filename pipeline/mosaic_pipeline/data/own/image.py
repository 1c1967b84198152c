"""PNG, JPEG, TIFF and BMP files, through Pillow: one image, or the pages of a TIFF as the slices of a volume."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mosaic_pipeline.data.own.picture import CLEAR, MOST_PIXELS, Picture, check_size, whole_span

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile
    from PIL.TiffImagePlugin import TiffImageFile

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

_ORIENTATION = 0x0112  # of the tags of EXIF and TIFF; 1 is upright
_PHOTOMETRIC = 0x0106  # of TIFF; 0 says that white is zero
# Grey in more than 8 bits, which Pillow gives as it is stored.
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L")
# Of the 256 levels that Pillow keeps of 16 bits a channel, how many must be used.
_FEWEST_LEVELS = 64
# What an array has without a change of values; a palette's colours are looked up, Y'CbCr is how JPEGs store RGB.
_AS_THEY_ARE = ("L", "LA", "RGB", "RGBA", *_DEEP)
_LOOKED_UP = {"1": "L", "P": "RGB", "PA": "RGBA", "YCbCr": "RGB"}


def read_image(file: Path, dimension: int) -> Picture:
    """Return an image, or for `dimension` 3 a volume, as the file has it. Raises whatever Pillow does, ValueError."""
    with warnings.catch_warnings(), _largest(MOST_PIXELS):
        warnings.simplefilter("ignore")  # on tags that say nothing here
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=FORMATS) as image:
                return _read(image, dimension)
        except UnidentifiedImageError:
            what = "empty, no image" if not file.stat().st_size else f"no image of {', '.join(FORMATS)}"
            raise ValueError(what) from None


@contextmanager
def _largest(pixels: int) -> Iterator[None]:
    """Have Pillow warn of files beyond as many pixels as we take; its own limit is a third of them."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _read(image: "ImageFile", dimension: int) -> Picture:
    pages = getattr(image, "n_frames", 1)
    if dimension == 2 and pages > 1:
        raise ValueError(f"holds {pages} images, where one is meant")
    facts = [f"{image.format} file"]
    inverted = (
        image.format == "TIFF" and cast("TiffImageFile", image).tag_v2.get(_PHOTOMETRIC) == 0 and image.mode in _DEEP
    )
    if inverted:
        facts.append("Inverted, zero being white (TIFF)")
    if dimension == 2:
        check_size((image.height, image.width))
        values = _values(image, facts)
    else:
        sizes = set()
        for page in range(pages):
            image.seek(page)
            sizes.add((image.height, image.width))
        if len(sizes) > 1:
            raise ValueError("its pages differ in size")
        check_size((pages, *sizes.pop()))
        slices = []
        for page in range(pages):
            image.seek(page)
            slices.append(_values(image, facts))
        if len({(part.shape, part.dtype) for part in slices}) > 1:
            raise ValueError("its pages differ in their channels or bits")
        values = np.stack(slices)
    span = whole_span(values)
    return Picture(values, (1.0,) * dimension, span, inverted, facts=tuple(dict.fromkeys(facts)))


def _values(page: "ImageFile", facts: list[str]) -> NDArray:
    """Return the values of a page, upright."""
    # Asked before anything has the image loaded.
    deep = any(";16" in str(tile[-1]) for tile in page.tile) and page.mode in ("LA", "RGB", "RGBA")
    if page.getexif().get(_ORIENTATION, 1) != 1:
        facts.append("Turned upright, as the file says")  # a TIFF by Pillow, while it is read
    clear = page.info.get("transparency")
    image: Image.Image = ImageOps.exif_transpose(page)
    if deep or image.mode in _DEEP:
        # In 8 bits a transparent colour would be another one.
        values = np.asarray(image)
        clear = None if clear is None else np.array(clear) >> (8 if deep else 0)
        if clear is not None and (values == clear).reshape(*values.shape[:2], -1).all(axis=2).any():
            raise ValueError(CLEAR)
        return _upper(values, facts) if deep else values
    if image.mode in _LOOKED_UP or clear is not None:
        # A colour that is called transparent is one that is not there, whether as a channel or as a colour's number.
        mode = "RGBA" if "transparency" in image.info else _LOOKED_UP[image.mode]
        if image.mode.startswith("P"):
            facts.append("Colours of a palette looked up")
        image = image.convert(mode)
    elif image.mode not in _AS_THEY_ARE:
        raise ValueError(f"colours are {image.mode}; write it as grey or RGB")
    return np.asarray(image)


def _upper(values: NDArray[np.uint8], facts: list[str]) -> NDArray[np.uint16]:
    """Return colours of 16 bits, of which Pillow has kept the upper 8. Raises ValueError if those are hardly used."""
    colours = values[..., : 3 if values.shape[-1] > 2 else 1]
    if colours.max() < _FEWEST_LEVELS:
        raise ValueError(
            f"has 16 bits a channel, of which Pillow keeps the upper 8, and {colours.max() + 1} of 256 levels would be "
            "left; write it with 8 bits a channel"
        )
    facts.append("16 bits a channel, of which the lower 8 were left out")
    return values * np.uint16(257)
