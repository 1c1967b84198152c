"""Made scans: slices as they are scanned beside the same ones in the cache's layout, and one large NIfTI scan."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.segmentation.setting import SCANNED
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.segmentation.config import Config
from mosaic_pipeline.segmentation.data.grid import labels_to_grid, to_grid
from mosaic_pipeline.segmentation.datasets import LabelledSet

ORGANS = 15
FIELD_MM = 400.0


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


def write_slices(folder: Path, config: Config, count: int, scanned: int = SCANNED) -> None:
    """Write `count` slices of every set: `scanned_*.npy` [N, scanned, scanned], and what the cache has of the same.

    Of both, images are between -1 and 1, masks hold classes.
    """
    spacing = (FIELD_MM / scanned, FIELD_MM / scanned, 5.0)
    body = bodies((scanned, scanned, 82), spacing)[..., np.linspace(20, 62, count).astype(int)]
    generator = np.random.default_rng(0)
    for name, dataset in config.datasets.items():
        classes = np.where(body < dataset.num_classes, body, np.uint8(0))
        images = classes / dataset.num_classes * 2 - 1 + generator.normal(0, 0.1, classes.shape)
        images = images.clip(-1, 1).astype(np.float16)
        own = folder / name
        own.mkdir(parents=True)
        for kind, array in (("images", images.astype(np.float32)), ("labels", classes)):
            np.save(own / f"scanned_{kind}.npy", np.ascontiguousarray(np.moveaxis(array, 2, 0)))
        size = config.model.size
        labels = labels_to_grid(classes, spacing, size)
        _write_split(own, dataset, to_grid(images, spacing, size).astype(np.float16), labels)


def _write_split(folder: Path, dataset: LabelledSet, images: NDArray[np.float16], labels: NDArray[np.uint8]) -> None:
    """Write slices [N,S,S] that train as the cache has them, from one case."""
    count = len(images)
    where = np.stack([np.zeros(count, np.int32), np.arange(count, dtype=np.int32)], axis=1)
    md5 = {}
    for kind, array in (("images", images), ("labels", labels), ("where", where)):
        np.save(folder / f"train_{kind}.npy", array)
        md5[kind] = md5_file(folder / f"train_{kind}.npy")
    kept = {"n": count, "of": count, "cases": 1, "md5": md5}
    voxels = np.bincount(labels.ravel(), minlength=dataset.num_classes).tolist()
    meta = {"dataset": dataset.name, "form": dataset.form(), "size": images.shape[-1], "source": "made"}
    meta |= {"intensity": {"window": [-1.0, 1.0]}}
    # A cache has both splits; nothing opens the second one here.
    meta |= {"splits": {"train": kept, "val": kept}, "class_voxels": {"train": voxels, "val": voxels}}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def write_scan(folder: Path, name: str, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    """Write a scan and its label map, uncompressed, below `imagesTr` and `labelsTr` of a set's folder."""
    import nibabel

    labels = bodies(shape, spacing)
    image = (labels.astype(np.int16) * 20) + (np.indices(shape, np.int16, sparse=True)[2] % 7)
    for part, array in (("imagesTr", image), ("labelsTr", labels)):
        (folder / part).mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing, 1.0])), folder / part / f"{name}.nii")
