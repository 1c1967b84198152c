"""What happens to images outside the benchmark: noise, blur, low contrast, JPEG and coarse pixels, in five strengths.

The kinds and their strengths are those of ImageNet-C (Hendrycks and Dietterich, arXiv:1903.12261), blur as a share of
the side because its pixels would leave a small image as it is; MedMNIST-C (arXiv:2406.17536) has the same kinds, chosen
for each dataset. They act on stored uint8 images, so that the model sees a corrupted file, not a corrupted tensor. In a
volume blur and coarse cells go along all three axes, and JPEG takes each slice along the first one as an image of its
own, as lossy archives of scans do.

The same bytes on every machine, in whichever batch a case comes: only +, -, *, / and IEEE's roots reach a pixel, sums
are of whole numbers, and noise comes from a stream keyed by dataset, kind, strength and case. JPEG is as exact as the
libjpeg within Pillow, which is pinned.
"""

import hashlib
import math
from collections.abc import Callable
from io import BytesIO
from typing import cast

import numpy as np
from numpy.random import PCG64
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy.ndimage import correlate1d

Image = NDArray[np.uint8]

STRENGTHS = 5
# By strength, the first one mildest.
DEVIATION = (0.08, 0.12, 0.18, 0.26, 0.38)  # of the noise, as a share of 255: gaussian_noise of ImageNet-C
WIDTH = (0.4 / 32, 0.6 / 32, 0.7 / 32, 0.8 / 32, 1 / 32)  # sigma as a share of the side: gaussian_blur of CIFAR-10-C
CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)  # share of it that is left: contrast of ImageNet-C
QUALITY = (25, 18, 15, 10, 7)  # of the JPEG: jpeg_compression of ImageNet-C
CELLS = (0.6, 0.5, 0.4, 0.3, 0.25)  # along a side, as a share of its pixels: pixelate of ImageNet-C

_BITS = 14  # of a blur's weights: whole numbers, so that sums of products with bytes along three axes are exact


def corrupt(image: Image, dimension: int, kind: str, strength: int, key: str) -> Image:
    """Return one image [S,S], [S,S,3] or volume [S,S,S], corrupted by a kind of KINDS at a strength, 1 to STRENGTHS.

    `key` names the case: noise depends on it, and on kind and strength.
    """
    return _OF[kind](image, dimension, strength - 1, f"{key}/{kind}/{strength}")


def _noise(image: Image, dimension: int, place: int, key: str) -> Image:
    """Add a deviate to every value, channels apart."""
    return _stored(image + 255 * DEVIATION[place] * _deviates(key, image.shape))


def _deviates(key: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Nearly normal deviates of mean 0 and variance 1: sums of four uniform ones of 16 bits, no logarithm in them."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "little")
    drawn = PCG64(seed).random_raw(math.prod(shape)).astype("<u8").view("<u2").reshape(*shape, 4)
    sums = sum(drawn[..., place].astype(np.int32) for place in range(4))
    return cast("NDArray[np.float64]", (sums - 4 * 65535 / 2) / math.sqrt(4 * (65536**2 - 1) / 12))


def _blur(image: Image, dimension: int, place: int, key: str) -> Image:
    """Weigh by a Gaussian along each axis; what lies beyond an edge mirrors what lies before it."""
    weights = _gaussian(WIDTH[place] * image.shape[0])
    sums = image.astype(np.float64)
    for axis in range(dimension):
        sums = correlate1d(sums, weights, axis=axis, mode="reflect")
    return _stored(sums / 2.0 ** (_BITS * dimension))


def _gaussian(sigma: float) -> NDArray[np.float64]:
    """Whole weights of a Gaussian up to four sigma, which add up to 2^_BITS."""
    reach = math.ceil(4 * sigma)
    density = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-reach, reach + 1)]
    weights = np.array([round(2**_BITS * each / sum(density)) for each in density], dtype=np.float64)
    weights[reach] += 2**_BITS - weights.sum()
    return weights


def _contrast(image: Image, dimension: int, place: int, key: str) -> Image:
    """Pull every value towards the mean of its channel."""
    space = tuple(range(dimension))
    mean = image.sum(axis=space, dtype=np.int64) / math.prod(image.shape[:dimension])
    return _stored((image - mean) * CONTRAST[place] + mean)


def _jpeg(image: Image, dimension: int, place: int, key: str) -> Image:
    if dimension == 3:
        return np.stack([_jpeg(plane, 2, place, key) for plane in image])
    file = BytesIO()
    Pillow.fromarray(image).save(file, "JPEG", quality=QUALITY[place])
    with Pillow.open(file) as opened:
        return np.array(opened)


def _pixelate(image: Image, dimension: int, place: int, key: str) -> Image:
    """Give all pixels of a cell their mean; a cell's edges lie between pixels."""
    side = image.shape[0]
    cells = max(1, int(side * CELLS[place]))
    cell_of = np.arange(side) * cells // side
    starts, sizes = np.searchsorted(cell_of, np.arange(cells)), np.bincount(cell_of)
    sums = image.astype(np.int64)
    count: NDArray[np.int64] = np.ones((), np.int64)
    for axis in range(dimension):
        sums = np.add.reduceat(sums, starts, axis=axis)
        count = np.multiply.outer(count, sizes)
    means = sums / (count[..., None] if sums.ndim > dimension else count)
    return _stored(means)[np.ix_(*[cell_of] * dimension)]


def _stored(values: NDArray[np.float64]) -> Image:
    """Round to what a file holds."""
    return np.rint(values).clip(0, 255).astype(np.uint8)


_OF: dict[str, Callable[[Image, int, int, str], Image]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "jpeg": _jpeg,
    "pixelate": _pixelate,
}
KINDS = tuple(_OF)
