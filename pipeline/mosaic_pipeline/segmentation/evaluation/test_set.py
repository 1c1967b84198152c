"""The test of one model on the scans of one dataset, each on its own grid: what was found, and a few to look at."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mosaic_pipeline.segmentation.data.cache import read_case
from mosaic_pipeline.segmentation.data.grid import ceiling
from mosaic_pipeline.segmentation.data.index import Case, Index
from mosaic_pipeline.segmentation.data.nifti import read_labels
from mosaic_pipeline.segmentation.deployed import Deployed
from mosaic_pipeline.segmentation.evaluation.cases import case_record
from mosaic_pipeline.segmentation.evaluation.inference import segment
from mosaic_pipeline.segmentation.evaluation.overlays import choose_overlays, overlay
from mosaic_pipeline.segmentation.evaluation.predictions import write_prediction

Progress = Callable[[Sequence[Case]], Iterable[Case]]


@dataclass(frozen=True)
class Tested:
    """Records of all cases in order of the index, which of them are shown, and what is shown, by kind and name.

    `seconds` is what segmenting a case took on average, without reading, writing and measuring; it is not the same for
    the same inputs, so it may stand in no file.
    """

    cases: list[dict[str, Any]]
    overlays: list[dict[str, Any]]
    arrays: dict[str, NDArray[np.uint8]]
    seconds: float


def run_test(
    deployed: Deployed,
    index: Index,
    folder: Path,
    predictions: Path,
    *,
    nsd_mm: Mapping[str, float],
    largest_component: bool,
    batch_size: int,
    device: torch.device,
    progress: Progress = iter,
) -> Tested:
    """Segment every test scan of a dataset and measure it, or the part of it that tests; one is in memory at a time.

    `folder` holds the files of the `index`. What is found is written below `predictions`, a file a case, from where the
    ones to be shown are read again. Raises PipelineError for a file that is not the one of the index.
    """
    dataset = deployed.datasets[index.dataset]
    tested = {case.case: case for _, case in index.of_split("test")}
    records, seconds = [], 0.0
    for case in progress(list(tested.values())):
        scan, reference = read_case(folder, case, dataset)
        started = time.perf_counter()
        found = segment(
            deployed.model,
            scan,
            dataset,
            size=deployed.size,
            intensity=deployed.intensities[dataset.name],
            device=device,
            precision=deployed.precision,
            batch_size=batch_size,
            largest_component=largest_component,
        )
        seconds += time.perf_counter() - started
        write_prediction(_file(predictions, case), found, scan, dataset)
        shape, spacing = list(scan.voxels.shape), scan.spacing
        del scan  # measuring takes up to 15 bytes a voxel, and the image is not measured
        reference, found = reference[..., case.slices], found[..., case.slices]
        record = case_record(case.case, reference, found, spacing, dataset.organs, nsd_mm)
        best = ceiling(reference, spacing, deployed.size, dataset.num_classes)
        of_grid = {o: None if isnan(d) else d for o, d in zip(dataset.organs, best, strict=True)}
        part = {} if case.block is None else {"shape": shape, "block": list(case.block)}
        records.append(record | part | {"patient": case.patient, "ceiling": of_grid})
    overlays: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for shown in choose_overlays(records):
        case = tested[shown["case"]]
        scan, reference = read_case(folder, case, dataset)
        found = dataset.to_classes(read_labels(_file(predictions, case), scan))
        place = dataset.organs.index(shown["organ"]) + 1 if shown["organ"] else None
        slices, pictures = overlay(
            scan.voxels, reference, found, deployed.intensities[dataset.name], place, case.slices
        )
        overlays.append(shown | {"slices": slices, "spacing": list(case.spacing)})
        arrays |= {f"{shown['kind']}/{name}": array for name, array in pictures.items()}
    return Tested(records, overlays, arrays, seconds / len(records))


def _file(folder: Path, case: Case) -> Path:
    return folder / f"{case.case}.nii.gz"
