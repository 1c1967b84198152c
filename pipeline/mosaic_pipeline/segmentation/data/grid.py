"""The network's grid: axial slices of a scan in RAS, padded to a square in millimetres, `size` pixels a side; and back.

Pixels and voxels are areas, not points (half-pixel exact), so what is sent to the grid and back stays where it was.
Nothing is resampled through the plane. Images are resized with the filter of `antialias`, an average over the area of
a pixel: torch's mode "area" rounds the borders of pixels to whole voxels, which moves edges by up to half of one.
What a network says of a pixel is interpolated on the scan's own grid before the largest is taken; the other way round
costs about three points of Dice.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

ISOTROPIC = 0.01  # spacings that differ by less are taken as equal: headers round
BLOCK_BYTES = 64_000_000  # of what passes through at once


@dataclass(frozen=True)
class _Axis:
    """How one axis of a slice lies within the square."""

    voxels: int
    side: float  # of the square, in voxels of this axis
    before: int  # whole voxels of padding in front, half of what is missing

    @property
    def padding(self) -> tuple[int, int]:
        """Voxels to add in front and behind, so that the square is covered."""
        return self.before, math.ceil(self.side) - self.voxels - self.before


@dataclass(frozen=True)
class Grid:
    """Which grid a scan of `shape` (X, Y, Z) with voxels of `spacing` (mm) is sent to: Z slices of `size` x `size`.

    Axis 0 of a slice is RAS x, axis 1 is RAS y.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    size: int

    @property
    def side_mm(self) -> float:
        """Length of the square's side."""
        return max(count * step for count, step in zip(self.shape[:2], self._in_plane, strict=True))

    @property
    def axes(self) -> tuple[_Axis, _Axis]:
        """How x and y lie within the square."""
        x, y = (
            # Rounded, so that the longer axis is as long as it is, and not by 1e-15 more: that would be a voxel.
            _Axis(count, side := round(self.side_mm / step, 9), int(side - count) // 2)
            for count, step in zip(self.shape[:2], self._in_plane, strict=True)
        )
        return x, y

    @property
    def _in_plane(self) -> tuple[float, float]:
        x, y = self.spacing[:2]
        return (x, x) if abs(x - y) <= ISOTROPIC * max(x, y) else (x, y)


def to_grid(volume: NDArray, spacing: tuple[float, float, float], size: int) -> NDArray[np.float32]:
    """Return the slices [Z, S, S] of a volume [X, Y, Z] in RAS; the padding has the volume's lowest value."""
    grid = Grid(volume.shape, spacing, size)
    slices = np.empty((volume.shape[2], size, size), np.float32)
    lowest = float(volume.min())
    (left, right), (front, back) = (axis.padding for axis in grid.axes)
    scale = tuple(_factor(size, axis.side) for axis in grid.axes)
    for block in _blocks(grid, channels=1):
        stored = np.ascontiguousarray(np.moveaxis(volume[..., block], 2, 0), dtype=np.float32)
        square = F.pad(torch.from_numpy(stored).unsqueeze(1), (front, back, left, right), value=lowest)
        resized = F.interpolate(square, scale_factor=scale, mode="bilinear", align_corners=False, antialias=True)
        slices[block] = resized[:, 0, :size, :size].numpy()
    return slices


def labels_to_grid(labels: NDArray[np.uint8], spacing: tuple[float, float, float], size: int) -> NDArray[np.uint8]:
    """Return the slices [Z, S, S] of a map of classes [X, Y, Z]: the class at the centre of each pixel, else 0."""
    grid = Grid(labels.shape, spacing, size)
    (rows, in_x), (columns, in_y) = (_nearest(axis, size) for axis in grid.axes)
    taken = labels[rows[:, None], columns[None, :]]
    taken[~(in_x[:, None] & in_y[None, :])] = 0
    return np.ascontiguousarray(np.moveaxis(taken, 2, 0))


def from_grid(values: Tensor, grid: Grid) -> Tensor:
    """Interpolate logits or probabilities [n, C, S, S] linearly on the scan's own grid: [n, C, X, Y], n any slices."""
    x, y = grid.axes
    scale = tuple(_factor(axis.side, grid.size) for axis in grid.axes)
    square = F.interpolate(values.float(), scale_factor=scale, mode="bilinear", align_corners=False)
    return square[:, :, x.before : x.before + x.voxels, y.before : y.before + y.voxels]


def classes_from_grid(batches: Iterable[Tensor], grid: Grid) -> NDArray[np.uint8]:
    """Return the most likely class of every voxel [X, Y, Z], from consecutive batches [n, C, S, S] of its slices.

    What is in memory at once, besides the result, is a few slices with all their classes.
    """
    classes = np.empty(grid.shape, np.uint8)
    start = 0
    for batch in batches:
        for block in _blocks(grid, channels=batch.shape[1], count=len(batch)):
            found = from_grid(batch[block], grid).argmax(1).to(torch.uint8)
            classes[..., start + block.start : start + block.stop] = found.permute(1, 2, 0).cpu().numpy()
        start += len(batch)
    if start != grid.shape[2]:
        raise ValueError(f"{start} slices for a scan that has {grid.shape[2]}")
    return classes


def ceiling(labels: NDArray[np.uint8], spacing: tuple[float, float, float], size: int, classes: int) -> list[float]:
    """Return the Dice of each class from 1 on that a network would reach which says what part of every pixel is what.

    These shares of the reference [X, Y, Z] take the way back that a prediction takes; nan for what it does not hold. It
    is a mark and no bound: other logits can come back better, mostly by little, by much where an organ is thinner than
    a pixel.
    """
    grid = Grid(labels.shape, spacing, size)
    in_x, in_y = (torch.from_numpy(_shares(axis, size)) for axis in grid.axes)
    both, sums = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for block in _blocks(grid, channels=classes):
        reference = np.ascontiguousarray(np.moveaxis(labels[..., block], 2, 0))
        here = np.union1d(reference, 0)  # the others have no chance, and cost as much
        masks = torch.from_numpy(reference)[:, None] == torch.from_numpy(here)[1:, None, None]
        organs = in_x @ masks.float() @ in_y.T
        shares = torch.cat([1 - organs.sum(1, keepdim=True), organs], 1)  # padding is background
        found = here[from_grid(shares, grid).argmax(1).numpy()]
        both += np.bincount(reference[reference == found], minlength=classes)
        sums += np.bincount(reference.ravel(), minlength=classes) + np.bincount(found.ravel(), minlength=classes)
    there = np.isin(np.arange(classes), np.unique(labels))
    dice = np.divide(2 * both, sums, where=there, out=np.full(classes, math.nan))
    return dice[1:].tolist()


def _factor(target: float, source: float) -> float:
    """Return the factor of lengths; rounded up, so that torch, which rounds down, makes at least `target` pixels."""
    return math.nextafter(target / source, math.inf)


def _nearest(axis: _Axis, size: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the voxel in which the centre of each pixel lies, and whether there is one."""
    index = np.floor((np.arange(size) + 0.5) * (axis.side / size)).astype(np.int64) - axis.before
    return index.clip(0, axis.voxels - 1), (index >= 0) & (index < axis.voxels)


def _shares(axis: _Axis, size: int) -> NDArray[np.float32]:
    """Return what part of each of `size` pixels along an axis each voxel covers: [S, voxels]."""
    pixel = axis.side / size
    start, first = (np.arange(size) * pixel)[:, None], axis.before + np.arange(axis.voxels)
    overlap = np.minimum(start + pixel, first + 1) - np.maximum(start, first)
    return (overlap.clip(0) / pixel).astype(np.float32)


def _blocks(grid: Grid, channels: int, count: int | None = None) -> Iterator[slice]:
    """Cut `count` slices (None = all) so that what one block takes on the larger of both grids stays bounded."""
    x, y = grid.axes
    larger = max(math.ceil(x.side) * math.ceil(y.side), grid.size**2)
    step = max(1, BLOCK_BYTES // (4 * channels * larger))
    count = grid.shape[2] if count is None else count
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
