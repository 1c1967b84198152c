"""How well one scan is segmented, organ by organ: in 3D, on the scan's own grid, in mm.

Libraries disagree about masks without a voxel, and their answers flatter: MONAI leaves a missed organ out of HD95 and
an invented one out of Dice and HD95. Here an organ that is missed or invented is as wrong as can be in every metric,
and counted; where there is none and none was found, there is nothing to be said, and it is counted too.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from mosaic_pipeline.segmentation.evaluation.surfaces import hausdorff, surface_dice
from mosaic_pipeline.segmentation.organs import organ as known_organ

Status = Literal["hit", "missed", "invented", "absent"]
Record = dict[str, Any]
_Box: TypeAlias = tuple[slice, slice, slice]

METRICS = ("dsc", "nsd", "hd95")
# What stands beside every number of these names.
DEFINITIONS = {
    "dsc": "Dice, 2|A and B| / (|A| + |B|) over the voxels of a case",
    "nsd": "normalised surface Dice, the share of both surfaces within the tolerance, weighed by area (subvoxel)",
    "hd95": "95 % Hausdorff distance in mm, the larger of both directed 95th percentiles over surface voxels",
}


def case_metrics(
    reference: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    spacing: Sequence[float],
    organs: Sequence[str],
    nsd_mm: float | Mapping[str, float],
) -> list[Record]:
    """Return one record for each organ: status, DSC, NSD and HD95 (None if absent), and both volumes.

    Both maps [X,Y,Z] hold classes, 0 background, c the c-th of `organs`; `spacing` is in mm, and `nsd_mm` the tolerance
    of all organs or of each. Raises ValueError for maps that do not fit each other or the organs.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"a prediction {list(prediction.shape)} for a reference {list(reference.shape)}")
    for name, classes in (("reference", reference), ("prediction", prediction)):
        if classes.max(initial=0) > len(organs):
            raise ValueError(f"the {name} holds class {classes.max()}, and there are {len(organs)} organs")
    # Floats throughout: headers give some spacings as whole numbers.
    spacing = tuple(map(float, spacing))
    boxes = zip(*(find_objects(classes, max_label=len(organs)) for classes in (reference, prediction)), strict=True)
    farthest = diagonal(reference.shape, spacing)
    records = []
    for place, (organ, (there, found)) in enumerate(zip(organs, boxes, strict=True), start=1):
        tolerance = float(nsd_mm[organ] if isinstance(nsd_mm, Mapping) else nsd_mm)
        box = _union(there, found)
        masks = (_mask(reference, place, box), _mask(prediction, place, box))
        scores = _scores(*masks, spacing, tolerance, farthest)
        records.append({"organ": organ, **scores, "nsd_mm": tolerance, **_volumes(*masks, spacing)})
    return records


def tolerances(organs: Sequence[str], otherwise: float) -> dict[str, float]:
    """Return the NSD tolerance in mm of each organ: its own where one is known, `otherwise` else."""
    known = {name: known_organ(name).nsd_mm for name in organs}
    return {name: otherwise if own is None else own for name, own in known.items()}


def diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Return the diagonal of a scan in mm: no two of its voxels are that far apart."""
    return math.hypot(*(count * step for count, step in zip(shape, spacing, strict=True)))


def by_monai(record: Record) -> dict[str, float | None]:
    """Return the metrics of an organ as MONAI 1.6.1 has them by default; None what its means leave out.

    An invented organ counts neither for Dice nor for HD95, and HD95 forgets those that are missed.
    """
    left_out = {"hit": (), "missed": ("hd95",), "invented": ("dsc", "hd95"), "absent": METRICS}[record["status"]]
    return {metric: None if metric in left_out else record[metric] for metric in METRICS}


def _scores(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    spacing: Sequence[float],
    tolerance: float,
    farthest: float,
) -> Record:
    """Return status and scores; no formula ever sees an empty mask."""
    there, found = bool(reference.any()), bool(prediction.any())
    if not (there and found):
        if not (there or found):
            return {"status": "absent", "dsc": None, "nsd": None, "hd95": None}
        return {"status": "missed" if there else "invented", "dsc": 0.0, "nsd": 0.0, "hd95": farthest}
    return {
        "status": "hit",
        "dsc": 2 * _count(reference & prediction) / (_count(reference) + _count(prediction)),
        "nsd": surface_dice(reference, prediction, spacing, tolerance),
        "hd95": hausdorff(reference, prediction, spacing),
    }


def _volumes(reference: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing: Sequence[float]) -> Record:
    """Return both volumes and the error; in percent of the reference, None where that has none."""
    true, found = (_count(mask) * math.prod(spacing) / 1000 for mask in (reference, prediction))
    error = found - true
    return {
        "volume_ref_ml": true,
        "volume_pred_ml": found,
        "volume_error_ml": error,
        "volume_error_percent": 100 * error / true if true else None,
    }


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _union(one: _Box | None, other: _Box | None) -> _Box:
    """Return the box around both; of nothing, an empty one."""
    if one is None or other is None:
        return one or other or (slice(0), slice(0), slice(0))
    x, y, z = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return x, y, z


def _mask(classes: NDArray[np.uint8], place: int, box: _Box) -> NDArray[np.bool_]:
    """Return where a class is within a box, with a voxel around it that is not: a scan's end is an organ's, too."""
    return np.pad(classes[box] == place, 1)
