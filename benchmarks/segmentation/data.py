"""Made scans."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ORGANS = 15


def bodies(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Return classes 1 to 15, ellipsoids of 20 to 90 mm, next to each other."""
    classes = np.zeros(shape, np.uint8)
    generator = np.random.default_rng(0)
    extent = np.multiply(shape, spacing)
    for organ in range(1, ORGANS + 1):
        centre, radii = extent * generator.uniform(0.2, 0.8, 3), generator.uniform(10, 45, 3)
        box = tuple(
            slice(max(0, int((c - r) / s)), min(n, int((c + r) / s) + 2))
            for c, r, s, n in zip(centre, radii, spacing, shape, strict=True)
        )
        at = np.ogrid[box]
        inside = sum(((a * s - c) / r) ** 2 for a, s, c, r in zip(at, spacing, centre, radii, strict=True)) < 1
        classes[box][inside] = organ
    return classes


def write_scan(folder: Path, name: str, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    """Write a scan and its label map, uncompressed, below `imagesTr` and `labelsTr` of a set's folder."""
    import nibabel

    labels = bodies(shape, spacing)
    image = (labels.astype(np.int16) * 20) + (np.indices(shape, np.int16, sparse=True)[2] % 7)
    for part, array in (("imagesTr", image), ("labelsTr", labels)):
        (folder / part).mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing, 1.0])), folder / part / f"{name}.nii")
