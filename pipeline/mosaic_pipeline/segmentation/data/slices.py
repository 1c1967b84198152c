"""Slices of cached scans with their masks, a batch at a time on the device."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from torch import Tensor

from mosaic_pipeline.arrays import read_array
from mosaic_pipeline.data.batches import GIGABYTE, Batch, Mapped, Split, fit
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.reading import read_record, reading

if TYPE_CHECKING:
    from mosaic_pipeline.segmentation.datasets import LabelledSet


SplitName = Literal["train", "val"]
ArrayName = Literal["images", "labels", "where"]


class Kept(BaseModel):
    """What the cache has of a split: slices, of how many, from how many scans, and the md5 of each array."""

    n: int = Field(ge=1)
    of: int = Field(ge=1)
    cases: int = Field(ge=1)
    md5: dict[ArrayName, str]


class Meta(BaseModel):
    """meta.json of a cached set; `class_voxels` are pixels of the grid by split and class."""

    dataset: str
    form: dict[str, Any]
    size: int = Field(ge=1)
    intensity: dict[Literal["window", "percentiles"], tuple[float, float]] = Field(min_length=1, max_length=1)
    source: str
    splits: dict[SplitName, Kept]
    class_voxels: dict[SplitName, list[int]]


def read_meta(folder: Path) -> Meta:
    """Return meta.json of a cached set. Raises PipelineError, in one line, if it is missing or another set's."""
    meta = read_record(folder / "meta.json", Meta)
    with reading(folder / "meta.json"):
        if meta.dataset != folder.name:
            raise ValueError(f"of {meta.dataset}, not of {folder.name}")
        for split in ("train", "val"):
            if split not in meta.splits or len(meta.class_voxels.get(split, ())) != 1 + len(meta.form["labels"]):
                raise ValueError(f"nothing on the split {split}, or not for every class")
    return meta


class Slices(Split):
    """One split of one set: batches of images float16 [B,S,S], -1 to 1, and classes uint8 [B,S,S].

    `where` int32 [N,2] says of each slice which case of the index it is from, and which slice along z;
    `class_voxels` how many pixels each class has.
    """

    def __init__(self, folder: Path, split: SplitName, device: torch.device, workers: int = 1) -> None:
        """Open what the cache has of a split; raises PipelineError if it is missing, damaged or not that of meta.json.

        Masks and places are held against their md5, images by number and size.
        """
        meta = read_meta(folder)
        paths = {kind: folder / f"{split}_{kind}.npy" for kind in ("images", "labels", "where")}
        self.where: NDArray[np.int32] = read_array(paths["where"], np.int32, (None, 2))
        self._mapped = (Mapped(paths["images"], np.float16, device), Mapped(paths["labels"], np.uint8, device))
        kept, n = meta.splits[split], meta.splits[split].n
        for kind, array in (("images", self.images), ("labels", self._mapped[1].array)):
            with reading(paths[kind]):
                if array.shape != (n, meta.size, meta.size):
                    raise ValueError(f"{kind} {list(array.shape)}, not the {[n, meta.size, meta.size]} of meta.json")
        held: tuple[ArrayName, ...] = ("labels", "where")
        for name in held:
            with reading(paths[name]):
                if kept.md5.get(name) != md5_file(paths[name]):
                    raise ValueError("not the one that meta.json beside it speaks of")
        self.device, self._workers = device, workers
        self.class_voxels: list[int] = meta.class_voxels[split]
        self.meta = meta

    def _batch(self, arrays: Sequence[Tensor], rows: Tensor) -> Batch:
        images, labels = arrays
        return Batch(images, labels)


def open_slices(
    cached: Path,
    datasets: "Mapping[str, LabelledSet]",
    size: int,
    splits: Iterable[SplitName],
    device: torch.device,
    budget_gb: float = 0,
    workers: int = 1,
) -> tuple[dict[str, Slices], ...]:
    """Open splits of every set, one mapping name -> slices for each of `splits`, as `open_splits` does.

    Raises PipelineError for one that is missing or damaged, whose labels are not those of its set, or whose slices are
    not of `size` pixels a side.
    """
    remaining = budget_gb * GIGABYTE if device.type != "cpu" else 0
    opened: tuple[dict[str, Slices], ...] = ()
    for split in splits:
        by_name = {}
        for name, dataset in datasets.items():
            by_name[name] = Slices(cached / name, split, device, workers)
            with reading(cached / name / "meta.json"):
                if by_name[name].meta.form != dataset.form():
                    raise ValueError("not of the form that the configuration has")
                if by_name[name].meta.size != size:
                    found = by_name[name].meta.size
                    raise ValueError(f"slices of {found} pixels a side, but the configuration has {size}")
            remaining -= fit(by_name[name], remaining)
        opened += (by_name,)
    return opened
