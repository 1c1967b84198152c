"""What phantoms are drawn with, the same bytes on every machine.

Only +, -, *, / and uniform random numbers reach a pixel, which IEEE 754 and PCG64 fix to the last bit. Sines, powers,
normal variates and array sums are avoided: they differ between processors.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.random import PCG64, Generator


def stream(*key: str | int) -> Generator:
    """Return the random numbers that belong to a key."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return Generator(PCG64(int.from_bytes(digest[:16], "little")))


def bell(rng: Generator, *shape: int) -> np.ndarray:
    """Draw bell-shaped variates of mean 0 and standard deviation 1 (a sum of three uniform ones)."""
    first, second, third = rng.random((3, *shape))
    return 2 * (first + second + third - 1.5)


def texture(rng: Generator, cells: tuple[int, ...], sizes: Sequence[int]) -> np.ndarray:
    """Return noise between -1 and 1, smooth within `cells` along each axis (linear between random lattice points)."""
    values = 2 * rng.random([number + 1 for number in cells[-len(sizes) :]]) - 1
    for axis, number in enumerate(cells[-len(sizes) :]):
        place = (along(axis, sizes) + 1) / 2 * number
        left = place.astype(np.int64).ravel()
        share = place - place.astype(np.int64)
        values = values.take(left, axis) * (1 - share) + values.take(left + 1, axis) * share
    return values


def along(axis: int, sizes: Sequence[int]) -> np.ndarray:
    """Return the pixel centres along an axis, -1 to 1, shaped to broadcast over the others."""
    centres = (2 * np.arange(sizes[axis]) + 1) / sizes[axis] - 1
    return centres.reshape([-1 if other == axis else 1 for other in range(len(sizes))])
