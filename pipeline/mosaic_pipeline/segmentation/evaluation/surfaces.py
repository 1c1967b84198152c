"""Surfaces of two masks, and how far they lie from each other: HD95 and NSD to the numbers of MONAI 1.6.1.

Not by MONAI itself: its import costs 6 to 9 s of CPU and 0.5 GB in every evaluation, and its surfaces 150 bytes a voxel
of the box around both masks, 12 GB where a model is wrong all over a CT of 512 x 512 x 300. The tests hold every number
against MONAI's, and against distance transforms.

HD95 is the larger of the two directed 95th percentiles of the distances between *surface voxels*, those of a mask that
have a face on what is not. NSD is the share of both *surfaces* that lies within a tolerance of the other, weighed by
area; the surface runs between voxels, in the cells of 2 x 2 x 2 of them that are not all alike (Nikolov et al., J Med
Internet Res 23(7):e26151, 2021; DeepMind's surface-distance, Apache-2.0).
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt
from scipy.spatial import KDTree

PERCENTILE = 95

# Of the 256 cells the first 128, the others being their complements: for each its pieces of surface (up to four) by the
# area that they turn towards x, y and z, in eighths of a voxel's faces. From surface-distance's table, as MONAI has it.
_PIECES = (
    "0 111 111 220220 111 202202 111111 111222400 111 111111 202202 111222400 220220 111222400 111222400 400400 111 "
    "022022 111111 040111222 111111 004111222 111111111 111111222222 111111 022022111 111202202 022111202333 "
    "111220220 022111220333 111111222400 111222400 111 111111 022022 040111222 111111 111202202 022022111 "
    "022111202333 111111 111111111 004111222 111111222222 111220220 111111222400 022111220333 111222400 220220 "
    "040111222 040111222 040040 111220220 111202220333 040111111222 040111222 111220220 040111111222 111202220333 "
    "040111222 220220220220 111220220 111220220 220220 111 111111 111111 111220220 022022 004111222 022022111 "
    "022111220333 111111 111111111 111202202 111111222400 040111222 111111222222 022111202333 111222400 202202 "
    "004111222 111202202 111202220333 004111222 004004 004111111222 004111222 111202202 004111111222 202202202202 "
    "111202202 111202220333 004111222 111202202 202202 111111 111111111 022022111 040111111222 022022111 004111111222 "
    "022022022022 022022111 111111111 111111111111 004111111222 111111111 040111111222 111111111 022022111 111111 "
    "111222400 111111222222 022111202333 040111222 022111220333 004111222 022022111 022022 111111222400 111111111 "
    "111202202 111111 111220220 111111 111111 111"
)
# mm up to which a tree finds neighbours in no time. Of points that are all about as far, as where a model is wrong all
# over, it compares nearly every pair (512 x 512 x 300: more than 10 minutes); a distance transform of the box does not.
NEAR = 10.0
_LEAF = 32  # points in a leaf of a tree; MONAI's choice, faster than 10 where each tree is asked once


def hausdorff(reference: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing: Sequence[float]) -> float:
    """Return HD95 in mm of two masks [X,Y,Z], neither empty nor touching the array's end; voxels of `spacing` mm."""
    one, other = (mask ^ binary_erosion(mask) for mask in (reference, prediction))
    return max(_directed(one, other, spacing), _directed(other, one, spacing))


def _directed(own: NDArray[np.bool_], other: NDArray[np.bool_], spacing: Sequence[float]) -> float:
    """Return the 95th percentile of the distances in mm from each voxel of a surface to the other surface."""
    distances = _distances(_points(own, spacing), _points(other, spacing), NEAR)
    # What is farther is infinite, and does not matter unless it reaches down to the percentile.
    reached = float(np.percentile(distances, PERCENTILE, method="higher"))
    if np.isfinite(reached):
        distances[np.isinf(distances)] = reached  # infinity times a weight of 0 is no number
        return float(np.percentile(distances, PERCENTILE))
    nearest = distance_transform_edt(~other, sampling=spacing, return_distances=False, return_indices=True)
    here = np.argwhere(own)
    apart = (nearest[:, here[:, 0], here[:, 1], here[:, 2]].T - here) * np.asarray(spacing, np.float64)
    return float(np.percentile(np.linalg.norm(apart, axis=1), PERCENTILE))


def surface_dice(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing: Sequence[float], tolerance: float
) -> float:
    """Return NSD at `tolerance` mm of two masks [X,Y,Z], neither empty nor touching the array's end."""
    areas = _areas(spacing)
    points, weights = [], []
    for mask in (reference, prediction):
        cells = _cells(mask)
        surface = (cells != 0) & (cells != 255)
        points.append(_points(surface, spacing))
        weights.append(areas[cells[surface]])
    # Single precision, as MONAI compares: 3 voxels of 0.8 mm are 2.4 mm, and no more.
    bound = np.float32(tolerance)
    near = 0.0
    for own, weight, other in zip(points, weights, reversed(points), strict=True):
        distances = _distances(own, other, float(bound) * 1.00001 + 1e-6)
        near += float(weight[distances.astype(np.float32) <= bound].sum())
    return near / float(sum(weight.sum() for weight in weights))


def _points(surface: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float64]:
    """Return where a surface's voxels or cells are, in mm [N,3]."""
    return cast("NDArray[np.float64]", np.argwhere(surface) * np.asarray(spacing, np.float64))


def _distances(own: NDArray[np.float64], other: NDArray[np.float64], bound: float) -> NDArray[np.float64]:
    """Return how far each of our points [N,3] is from the nearest other one [N]; inf beyond `bound`."""
    distances, _ = KDTree(other, leafsize=_LEAF).query(own, distance_upper_bound=bound)
    return np.asarray(distances)


def _cells(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return for each cell of 2 x 2 x 2 voxels which of them are in the mask, the first one the highest bit."""
    bits = mask.view(np.uint8)
    x, y, z = (length - 1 for length in mask.shape)
    cells = np.zeros((x, y, z), np.uint8)
    for bit in range(8):
        i, j, k = bit >> 2, bit >> 1 & 1, bit & 1
        cells |= bits[i : i + x, j : j + y, k : k + z] << np.uint8(7 - bit)
    return cells


def _areas(spacing: Sequence[float]) -> NDArray[np.float64]:
    """Return the area in mm^2 of the surface within each of the 256 cells."""
    x, y, z = map(float, spacing)
    faces = np.array([y * z, x * z, x * y])
    half = [np.linalg.norm(_pieces(text) * faces, axis=1).sum() for text in _PIECES.split()]
    return np.array(half + half[::-1])


def _pieces(text: str) -> NDArray[np.float64]:
    return np.array([int(digit) for digit in text.zfill(3)]).reshape(-1, 3) / 8
