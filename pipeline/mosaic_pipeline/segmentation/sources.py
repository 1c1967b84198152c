"""Where the scans of a set are, what the set is, and which of its cases train, validate and test."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import SCANS, from_root
from mosaic_pipeline.present import present
from mosaic_pipeline.segmentation.data.splits import Blocks, draw_splits, read_splits
from mosaic_pipeline.segmentation.datasets import NAMED, LabelledSet, phantom_set

if TYPE_CHECKING:
    from mosaic_pipeline.segmentation.data.index import Splitter
    from mosaic_pipeline.segmentation.data.intensity import Intensity
    from mosaic_pipeline.segmentation.params import Segmentation

SPLITS_FILE = "splits.json"  # that phantoms come with


def scan_folder(section: "Segmentation", name: str) -> Path:
    """Return the folder of a set's scans: that of its phantoms, or one below `root`."""
    data = section.data
    if data.source == "phantom":
        return SCANS / name
    return from_root(present(data.root)) / data.folders.get(name, name)


def find_set(section: "Segmentation", name: str) -> LabelledSet:
    """Return what a set is; its folder is looked into where its labels are declared as `auto`.

    Raises PipelineError if that does not say.
    """
    if section.data.source == "phantom":
        return phantom_set(name)
    if name in NAMED:
        return NAMED[name]
    folder = scan_folder(section, name)
    try:
        return section.data.custom[name].labelled_set(name, folder)
    except ValueError as error:
        raise PipelineError(f"params.yaml: segmentation.data.custom.{name}: {error}") from None


def find_intensity(section: "Segmentation", name: str, modality: str) -> "Intensity":
    """Return how the scans of a set are scaled: by the window that it declares, else as those of its modality."""
    from mosaic_pipeline.segmentation.data.intensity import Intensity, intensity_of  # imports numpy

    declared = section.data.custom.get(name)
    if declared and declared.window:
        return Intensity(window=declared.window)
    return intensity_of(modality, section.intensity.ct_window, section.intensity.percentiles)


def splitter(section: "Segmentation", name: str) -> "Splitter | Blocks":
    """Return what says of each case, given whose it is, in which split it is; or which part of each scan is in which.

    A set that is split by slices goes by the shares, whatever a file says of other sets.
    """
    data = section.data
    if data.source == "folder" and name in data.custom and data.custom[name].split_by == "slices":
        return Blocks(data.split.test, data.split.val)

    def split(patients: Mapping[str, str]) -> Mapping[str, str]:
        if data.source == "phantom":
            return read_splits(SCANS / name / SPLITS_FILE, patients, name)
        if data.split.file:
            return read_splits(from_root(data.split.file), patients, name)
        return draw_splits(patients, test=data.split.test, val=data.split.val, seed=data.split.seed, name=name)

    return split
