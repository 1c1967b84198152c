"""From what a file holds to what all images of a dataset are: one size, one number of channels, 0 to 255."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.data.own.picture import Picture, check_size, check_values, with_channels
from mosaic_pipeline.data.own.resample import resample

# Of an image's values on either side, which `window: each` leaves out, and what is taken for its range in doubt: a hot
# pixel, or a burnt-in letter, says nothing of the others.
OUTERMOST = 0.005


@dataclass(frozen=True)
class Converted:
    """An image uint8, as it is kept, and what was done to it.

    `shape` is the size that it had, `square` whether its sides were equal (in space, not in pixels), `enlarged` whether
    it has more pixels along an axis now. `low` and `high` became 0 and 255, `least` and `most` are its values, and
    `inner` the range of those without the outermost on either side; `patient` is whose it is, if the file says that.
    """

    image: NDArray[np.uint8]
    shape: tuple[int, ...]
    square: bool
    enlarged: bool
    low: float
    high: float
    least: float
    most: float
    inner: tuple[float, float]
    facts: tuple[str, ...]
    patient: str | None


class Form(Protocol):
    """What all images of a dataset have in common, but for their size; as `OwnSource` says it."""

    @property
    def dimension(self) -> int:
        """2 for images, 3 for volumes."""
        ...

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        ...

    @property
    def fit(self) -> str:
        """What becomes of an image that is not square: `pad`, `stretch` or `crop`."""
        ...

    @property
    def window(self) -> tuple[float, float] | str | None:
        """The values that become 0 and 255, `each` for an image's own range, None for all that files can hold."""
        ...


def convert(picture: Picture, own: Form, size: int) -> Converted:
    """Return an image as the dataset has them at `size`. Raises ValueError for one that cannot be made so."""
    values, facts = with_channels(picture.values, own.dimension, own.channels)
    shape = values.shape[: own.dimension]
    check_size(shape)
    if min(shape) == 1:
        raise ValueError(f"is {' x '.join(map(str, shape))}: one {'slice' if own.dimension == 3 else 'line'} alone")
    check_values(values)
    least, most = float(values.min()), float(values.max())
    # Asked for where it matters; of two values the rarer is no outlier.
    asked = own.window == "each" or (own.window is None and picture.span not in (None, (0, 255)))
    inner = _inner(values) if asked and values.dtype.kind != "b" else (least, most)
    low, high = _window(picture, own, inner, (least, most))
    extents = [length * step for length, step in zip(shape, picture.spacing, strict=True)]
    values, sizes = _fitted(values, extents, size, own.fit)
    if values.dtype == np.uint8 and (low, high) == (0, 255) and sizes == values.shape[: own.dimension]:
        made = values
    else:
        made = np.floor((resample(values, sizes, low, high) - low) * (255 / (high - low)) + 0.5).astype(np.uint8)
    if picture.inverted:
        made = 255 - made
    return Converted(
        image=_padded(made, size, own.dimension),
        shape=shape,
        square=max(extents) - min(extents) < 0.5 * max(extents) / size,
        enlarged=any(wide > length for wide, length in zip(sizes, shape, strict=True)),
        low=low,
        high=high,
        least=least,
        most=most,
        inner=inner,
        facts=picture.facts + facts,
        patient=picture.patient,
    )


def _inner(values: NDArray) -> tuple[float, float]:
    """Return the range of an image's values without the outermost on either side."""
    flat = values.reshape(-1)
    first = int(OUTERMOST * (len(flat) - 1))
    ordered = np.partition(flat, (first, len(flat) - 1 - first))
    return float(ordered[first]), float(ordered[len(flat) - 1 - first])


def _window(picture: Picture, own: Form, inner: tuple[float, float], found: tuple[float, float]) -> tuple[float, float]:
    """Return the values that become 0 and 255."""
    if isinstance(own.window, tuple):
        return own.window
    if own.window == "each":
        low, high = inner if inner[0] < inner[1] else found
        return (low, high) if low < high else (low, low + 1)
    if picture.span is None:
        raise ValueError(
            f"values from {found[0]:g} to {found[1]:g}, of which the file does not say what is black and what is "
            "white; say `window: [low, high]`, or `window: each` for each image's own range"
        )
    return picture.span


def _fitted(values: NDArray, extents: list[float], size: int, fit: str) -> tuple[NDArray, tuple[int, ...]]:
    """Return what is kept of an image, and the size to which it is brought, at most `size` along each axis."""
    if fit == "crop":
        kept = [max(1, _round(n * min(extents) / extent)) for n, extent in zip(values.shape, extents, strict=False)]
        starts = [(n - length) // 2 for n, length in zip(values.shape, kept, strict=False)]
        values = values[tuple(slice(start, start + length) for start, length in zip(starts, kept, strict=True))]
    if fit == "pad":
        return values, tuple(max(1, _round(size * extent / max(extents))) for extent in extents)
    return values, (size,) * len(extents)


def _padded(image: NDArray[np.uint8], size: int, dimension: int) -> NDArray[np.uint8]:
    """Put an image into the middle of a black one."""
    margins = [((size - n) // 2, size - n - (size - n) // 2) for n in image.shape[:dimension]]
    return np.pad(image, margins + [(0, 0)] * (image.ndim - dimension))


def _round(value: float) -> int:
    return math.floor(value + 0.5)
