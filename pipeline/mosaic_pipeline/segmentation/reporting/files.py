"""The files that the report of segmentation reads, each held against the others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.arrays import open_arrays
from mosaic_pipeline.reading import number, read_record, read_table, reading
from mosaic_pipeline.reporting.record import check_datasets, check_names
from mosaic_pipeline.segmentation.reporting.records import DatasetResult, Evaluation, Training

History = dict[str, list[float]]


@dataclass(frozen=True)
class Overlay:
    """Slices of a case as pictures, with classes of reference and prediction: uint8 [K,H,W], axes RAS x and y."""

    kind: str
    case: str
    organ: str | None
    dsc: float | None
    slices: list[int]
    depth: int
    spacing: tuple[float, float, float]
    image: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    prediction: NDArray[np.uint8]


def read_training(path: Path, variant: str, seed: int, like: Training | None) -> Training:
    """Read train.json of a variant and seed: on the sets of `like`, and, of one variant, by the same configuration."""
    training = read_record(path, Training)
    with reading(path):
        check_names(training, variant=variant, seed=seed)
        if like and _forms(training) != _forms(like):
            raise ValueError(f"not of the sets that {like.variant} has")
        if like and like.variant == variant and training.md5.get("config") != like.md5.get("config"):
            raise ValueError(f"of another configuration than that of seed {like.seed}")
    return training


def _forms(training: Training) -> list[dict[str, Any]]:
    return [each.form() for each in training.config.datasets.values()]


def read_history(path: Path, rounds: int) -> History:
    """Read history.csv: a list with one value for each of `rounds` by column, nan where a cell is empty."""
    rows = list(read_table(path, ["round", "phase", "train_loss", "score"]).values())
    with reading(path):
        columns = {column: [number(row[column]) for row in rows] for column in (rows[0] if rows else ())}
        if columns.get("round") != list(range(1, rounds + 1)):
            raise ValueError(f"not the rounds 1 to {rounds} that train.json speaks of")
    return columns


def read_evaluation(path: Path, training: Training, like: Evaluation | None) -> Evaluation:
    """Read the JSON of an evaluation: of this training's model and sets, and the cases that `like` has."""
    found, datasets = read_record(path, Evaluation), training.config.datasets
    with reading(path):
        check_names(found, variant=training.variant, seed=training.seed)
        check_datasets(found.datasets, list(datasets))
        own = training.md5.get("model")
        if own and found.md5.get("model", own) != own:
            raise ValueError("of another model than train.json speaks of")
        for name, result in found.datasets.items():
            if tuple(result.organs) != datasets[name].organs:
                raise ValueError(f"{name}: not of the organs that are configured")
            if like and _tested(result) != _tested(like.datasets[name]):
                raise ValueError(f"{name}: other cases than those of {like.variant}, seed {like.seed}")
    return found


def _tested(result: DatasetResult) -> list[tuple]:
    """What has to be alike where results are compared: the scans, the organs in them, and the tolerances."""
    return [
        (case.case, case.patient, case.shape, case.spacing, case.block, [o.volume_ref_ml > 0 for o in case.organs])
        for case in result.cases
    ] + sorted(result.nsd_mm.items())


def read_overlays(path: Path, evaluation: Evaluation) -> dict[str, tuple[Overlay, ...]]:
    """Read the pictures of an evaluation by set, from the npz beside it; nothing of sets without any."""
    if not any(result.overlays for result in evaluation.datasets.values()):
        return {}
    found = {}
    with open_arrays(path) as read:
        for name, result in evaluation.datasets.items():
            cases = {case.case: case for case in result.cases}
            overlays = []
            for at in result.overlays:
                case, count = cases[at.case], len(at.slices)
                shape = (count, *case.shape[:2])
                arrays = {
                    part: read(f"{name}/{at.kind}/{part}", np.uint8, shape)
                    for part in ("image", "reference", "prediction")
                }
                for part in ("reference", "prediction"):
                    if (highest := int(arrays[part].max())) > len(result.organs):
                        raise ValueError(f"{name}/{at.kind}/{part}: class {highest} of {len(result.organs)} organs")
                overlays.append(
                    Overlay(at.kind, at.case, at.organ, at.dsc, at.slices, case.shape[2], case.spacing, **arrays)
                )
            found[name] = tuple(overlays)
    return found
