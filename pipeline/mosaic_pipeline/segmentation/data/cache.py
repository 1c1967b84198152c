"""The cache: what training and validation see of a set's scans, as plain .npy arrays that are mapped into memory.

Never a slice of a scan that tests: those files are not even opened. Where a scan is in all splits by blocks of its
slices, those of another split are cut off before anything is made of them. One scan is in memory at a time, and what it
adds goes to the disk at once, so memory stays flat whatever a set's size.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import Self

from mosaic_pipeline.atomic import appearing, write_text
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.present import present
from mosaic_pipeline.reading import reading
from mosaic_pipeline.segmentation.data.grid import labels_to_grid, to_grid
from mosaic_pipeline.segmentation.data.index import Case, Index
from mosaic_pipeline.segmentation.data.intensity import Intensity
from mosaic_pipeline.segmentation.data.nifti import Scan, read_image, read_labels
from mosaic_pipeline.segmentation.datasets import LabelledSet
from mosaic_pipeline.streams import stream

SPLITS = ("train", "val")
ARRAYS = {"images": np.float16, "labels": np.uint8, "where": np.int32}


@dataclass(frozen=True)
class Recipe:
    """How scans become slices.

    Of the slices that train, those without any organ are left out, but for as many as `empty_share` of those with one,
    drawn for each case under `seed`; unless `slices` is `all`. Validation has all of its slices.
    """

    size: int
    intensity: Intensity
    slices: Literal["foreground", "all"]
    empty_share: float
    seed: int


def build_cache(
    folder: Path,
    index: Index,
    target: Path,
    recipe: Recipe,
    progress: Callable[[Sequence[Case]], Iterable[Case]] = iter,
) -> dict[str, Any]:
    """Send the scans that train and validate to the grid; return what meta.json says.

    `folder` holds the files of the `index`. `target` appears whole, with `<split>_images.npy` (float16 [N,S,S],
    normalised), `<split>_labels.npy` (uint8 [N,S,S], classes) and `<split>_where.npy` (int32 [N,2]: which case of the
    index, which slice along z) for train and val. Raises PipelineError for a file that is not the one of the index.
    """
    meta: dict[str, Any] = {"dataset": index.dataset, "form": index.form, "size": recipe.size}
    meta |= {"intensity": recipe.intensity.form(), "source": index.source}
    with appearing(target) as partial:
        partial.mkdir(parents=True)
        meta |= {"splits": {}, "class_voxels": {}}
        for split in SPLITS:
            kept = _write_split(folder, index, partial, split, recipe, progress)
            meta["splits"][split], meta["class_voxels"][split] = kept
        write_text(partial / "meta.json", json.dumps(meta, indent=1) + "\n")
    return meta


def read_case(folder: Path, case: Case, dataset: LabelledSet) -> tuple[Scan, NDArray[np.uint8]]:
    """Return a scan of the index and its classes [X,Y,Z]. Raises PipelineError unless the files are those of then."""
    for file, md5 in ((folder / case.image, case.md5.image), (folder / case.labels, case.md5.labels)):
        with reading(file, "`dvc repro seg_index` reads it again"):
            if md5_file(file) != md5:
                raise ValueError("not the file that the index speaks of")
    scan = read_image(folder / case.image)
    ids = read_labels(folder / case.labels, scan)
    with reading(folder / case.labels, "`dvc repro seg_index` says more"):
        return scan, dataset.to_classes(ids)


def _write_split(
    folder: Path,
    index: Index,
    target: Path,
    split: str,
    recipe: Recipe,
    progress: Callable[[Sequence[Case]], Iterable[Case]],
) -> tuple[dict[str, Any], list[int]]:
    """Write the arrays of one split; return what meta.json says of them, and how many pixels each class has."""
    dataset, cases = index.labelled_set, index.of_split(split)
    if not cases:
        raise PipelineError(f"{index.dataset}: no scan in {split}; give it one in segmentation.data.split")
    place_of = {case.case: place for place, case in cases}
    pixels, of = np.zeros(dataset.num_classes, np.int64), 0
    paths = {kind: target / f"{split}_{kind}.npy" for kind in ARRAYS}
    with ExitStack() as opened:
        files = {kind: opened.enter_context(_Rows(path)) for kind, path in paths.items()}
        for case in progress([case for _, case in cases]):
            scan, classes = read_case(folder, case, dataset)
            voxels, classes = scan.voxels[..., case.slices], classes[..., case.slices]
            labels = labels_to_grid(classes, scan.spacing, recipe.size)
            rows = _chosen(labels, recipe, index.dataset, case.case) if split == "train" else np.arange(len(labels))
            images = to_grid(recipe.intensity.normalise(voxels), scan.spacing, recipe.size)
            where = np.stack([np.full(len(rows), place_of[case.case]), case.slices.start + rows], axis=1)
            for kind, array in (("images", images[rows]), ("labels", labels[rows]), ("where", where)):
                files[kind].append(array.astype(ARRAYS[kind]))
            pixels += np.bincount(labels[rows].ravel(), minlength=dataset.num_classes)
            of += len(labels)
    md5 = {kind: md5_file(path) for kind, path in paths.items()}
    return {"n": files["where"].count, "of": of, "cases": len(cases), "md5": md5}, pixels.tolist()


def _chosen(labels: NDArray[np.uint8], recipe: Recipe, *names: str) -> NDArray[np.int64]:
    """Return which slices of a case [Z,S,S] train, in their order."""
    if recipe.slices == "all":
        return np.arange(len(labels))
    has = labels.any(axis=(1, 2))
    full, empty = np.flatnonzero(has), np.flatnonzero(~has)
    order = torch.randperm(len(empty), generator=stream(recipe.seed, "empty slices", *names)).numpy()
    return np.sort(np.concatenate([full, empty[order[: round(recipe.empty_share * len(full))]]]))


class _Rows:
    """An .npy file that grows by rows, so that nobody has to know how many there will be."""

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
        self._like: tuple[np.dtype, tuple[int, ...]] | None = None

    def __enter__(self) -> Self:
        return self

    def append(self, rows: NDArray) -> None:
        if self._like is None:
            self._like = rows.dtype, rows.shape[1:]
            self._write_header()
        self._file.write(np.ascontiguousarray(rows).data)
        self.count += len(rows)

    def __exit__(self, kind: type | None, *_: object) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._write_header()  # as long as the first one: numpy leaves room for a number that grows

    def _write_header(self) -> None:
        dtype, shape = present(self._like)
        description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, description | {"shape": (self.count, *shape)})
