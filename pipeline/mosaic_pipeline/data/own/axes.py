"""Volumes turned so that their axes mean the same in all files: upwards, forwards and to the right.

NIfTI's canonical order RAS, slices first: [D,H,W] from inferior to superior, posterior to anterior, left to right. Axes
are only swapped and flipped, never rotated by less, so that no value is made up.
"""

import numpy as np
from numpy.typing import NDArray

# Degrees by which axes may be off before it is worth a word.
OBLIQUE = 1.0


def to_canonical(
    values: NDArray, directions: NDArray[np.float64]
) -> tuple[NDArray, tuple[float, ...], tuple[str, ...]]:
    """Return a volume turned, its spacing along each axis, and what happened to it.

    Column `i` of `directions` [3,3] is the step along axis `i` of `values`, in mm to the right, forwards and upwards.
    Raises ValueError if the axes span no space.
    """
    spacing = np.sqrt((directions**2).sum(axis=0))
    if not np.isfinite(directions).all() or not spacing.all():
        raise ValueError("its header says that a voxel has no size")
    cosines = directions / spacing
    of_axis = _closest(np.abs(cosines))
    order = [of_axis.index(direction) for direction in (2, 1, 0)]
    flipped = [cosines[direction, axis] < 0 for axis, direction in zip(order, (2, 1, 0), strict=True)]
    turned = values.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flipped)]
    off = max(np.degrees(np.arccos(min(1.0, abs(cosines[of_axis[axis], axis])))) for axis in range(3))
    facts = ["Axes swapped or flipped"] if any(flipped) or order not in ([2, 1, 0], [0, 1, 2]) else []
    if off > OBLIQUE:
        facts.append("Oblique, turned to the nearest axes and not resampled")
    return turned, tuple(float(spacing[axis]) for axis in order), tuple(facts)


def _closest(cosines: NDArray[np.float64]) -> list[int]:
    """Return the direction of each axis, every direction once: the clearest axis chooses first."""
    chosen: dict[int, int] = {}
    left = cosines.copy()
    for _ in range(3):
        direction, axis = np.unravel_index(np.argmax(left), left.shape)
        chosen[int(axis)] = int(direction)
        left[direction, :] = -1
        left[:, axis] = -1
    return [chosen[axis] for axis in range(3)]
