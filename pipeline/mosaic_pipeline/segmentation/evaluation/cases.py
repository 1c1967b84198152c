"""What the records of cases come to: means over cases within an organ, and over organs within a dataset.

Background is in none of them, nor is an organ where there is none and none was found. Beside each mean stands what it
would be by MONAI's convention, and for HD95 the median over hits with the number of misses and inventions, so that
nobody has to trust what these count for.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.segmentation.evaluation.metrics import METRICS, Record, by_monai, case_metrics, diagonal

STATUSES = ("hit", "missed", "invented", "absent")
_VOLUMES = ("volume_error_ml", "volume_error_percent")


def case_record(
    case: str,
    reference: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    spacing: Sequence[float],
    organs: Sequence[str],
    nsd_mm: float | Mapping[str, float],
) -> Record:
    """Return what is kept of a case: its grid, the diagonal that stands for HD95 of nothing, and each organ's record.

    As `case_metrics`; all of it is JSON.
    """
    return {
        "case": case,
        "shape": list(reference.shape),
        "spacing": [float(step) for step in spacing],
        "diagonal_mm": diagonal(reference.shape, [float(step) for step in spacing]),
        "organs": case_metrics(reference, prediction, spacing, organs, nsd_mm),
    }


def summary(cases: Sequence[Record]) -> Record:
    """Return what the cases of one dataset come to: each organ's means and counts, their means, the worst of both.

    A mean of nothing is None. A case is as good as the mean DSC of its organs, over all trainings that answered it.
    """
    by_organ: dict[str, list[Record]] = {}
    by_case: dict[str, list[float | None]] = {}
    for case in cases:
        by_case.setdefault(case["case"], []).append(mean(each["dsc"] for each in case["organs"]))
        for record in case["organs"]:
            by_organ.setdefault(record["organ"], []).append(record)
    organs = {organ: _of_organ(records) for organ, records in by_organ.items()}
    monai = {metric: mean(each["monai"][metric] for each in organs.values()) for metric in METRICS}
    return {
        "n": len(cases),
        **{metric: mean(each[metric] for each in organs.values()) for metric in METRICS},
        "monai": monai,
        "counts": {status: sum(each["counts"][status] for each in organs.values()) for status in STATUSES},
        "worst_organ": _worst({organ: each["dsc"] for organ, each in organs.items()}),
        "worst_case": _worst({case: mean(values) for case, values in by_case.items()}),
        "organs": organs,
    }


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that there are; None of none."""
    there = [value for value in values if value is not None]
    return fmean(there) if there else None


def _of_organ(records: Sequence[Record]) -> dict[str, Any]:
    by_convention = [by_monai(record) for record in records]
    hits = [record["hd95"] for record in records if record["status"] == "hit"]
    there = [record for record in records if record["status"] != "absent"]
    return {
        **{metric: mean(record[metric] for record in records) for metric in METRICS},
        "monai": {metric: mean(record[metric] for record in by_convention) for metric in METRICS},
        "hd95_median_of_hits": median(hits) if hits else None,
        "counts": {status: sum(record["status"] == status for record in records) for status in STATUSES},
        **{name: mean(record[name] for record in there) for name in _VOLUMES},
        "nsd_mm": records[0]["nsd_mm"],
    }


def _worst(values: Mapping[str, float | None]) -> dict[str, Any] | None:
    """Return name and DSC of the lowest, the first of equals."""
    there = {name: value for name, value in values.items() if value is not None}
    if not there:
        return None
    name = min(there, key=lambda each: there[each])
    return {"name": name, "dsc": there[name]}
