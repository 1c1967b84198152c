"""Images and volumes at another size: the values between, and the means of what becomes one pixel.

Pillow's `BILINEAR`, for any number of axes and values of any type. Products and sums alone, one after another, so that
every processor gives the same bytes; a matrix product does not.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def resample(values: NDArray, sizes: Sequence[int], low: float, high: float) -> NDArray[np.float64]:
    """Return `values`, cut off at `low` and `high`, with its first axes at these sizes; further axes stay."""
    for axis, size in enumerate(sizes):
        # Cut off a slice at a time: all of a large volume as fractions would be four times its size.
        cut = (low, high) if axis == 0 else None
        values = np.moveaxis(_resample_first(np.moveaxis(values, axis, 0), size, cut), 0, axis)
    return values


def _resample_first(values: NDArray, size: int, cut: tuple[float, float] | None) -> NDArray[np.float64]:
    made = np.zeros((size, *values.shape[1:]))
    scale = len(values) / size
    reach = max(scale, 1.0)
    for index in range(size):
        centre = (index + 0.5) * scale
        first, last = max(0, int(centre - reach + 0.5)), min(len(values), int(centre + reach + 0.5))
        weights = [max(0.0, 1 - abs(place + 0.5 - centre) / reach) for place in range(first, last)]
        total = sum(weights)
        for place, weight in zip(range(first, last), weights, strict=True):
            part = values[place].astype(np.float64)
            made[index] += (part if cut is None else np.clip(part, *cut)) * (weight / total)
    return made
