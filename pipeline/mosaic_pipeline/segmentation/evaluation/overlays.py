"""Which test cases are looked at, and their slices: image, reference and prediction."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.segmentation.data.intensity import Intensity

SLICES = 3  # contiguous ones of a case


def choose_overlays(cases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Choose, of the records of test cases, the best, the median and the worst by mean DSC over organs, and a hardest.

    The hardest organ is that of the lowest mean DSC; its case is the one that is the median for it. The order of the
    cases does not matter: ties go by their ids, and of two in the middle the worse is the median.
    """
    scores: dict[str, float] = {}
    by_organ: dict[str, dict[str, float]] = {}
    for case in cases:
        defined = {record["organ"]: record["dsc"] for record in case["organs"] if record["status"] != "absent"}
        scores[case["case"]] = fmean(defined.values())
        for organ, dsc in defined.items():
            by_organ.setdefault(organ, {})[case["case"]] = dsc
    hardest = min(by_organ, key=lambda organ: (fmean(by_organ[organ].values()), organ))
    ranked, ranked_for_it = _ranked(scores), _ranked(by_organ[hardest])
    chosen = {"best": ranked[-1], "median": ranked[(len(ranked) - 1) // 2], "worst": ranked[0]}
    shown = [{"kind": kind, "case": case, "organ": None, "dsc": scores[case]} for kind, case in chosen.items()]
    middle = ranked_for_it[(len(ranked_for_it) - 1) // 2]
    return [*shown, {"kind": "hardest", "case": middle, "organ": hardest, "dsc": by_organ[hardest][middle]}]


def overlay(
    voxels: NDArray,
    reference: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    intensity: Intensity,
    place: int | None = None,
    within: slice = slice(0, None),
) -> tuple[list[int], dict[str, NDArray[np.uint8]]]:
    """Return which slices show most of a class, or of any, by reference or prediction; and what is there [K,X,Y].

    Of volumes [X,Y,Z] in RAS, of their slices `within` alone. The image is scaled to 0..255 as the network sees it; the
    others are classes.
    """
    either = reference.astype(bool) | prediction.astype(bool)
    if place is not None:
        either = (reference == place) | (prediction == place)
    areas = either[..., within].sum(axis=(0, 1))
    count = min(SLICES, len(areas))
    start = within.start + int(np.convolve(areas, np.ones(count, areas.dtype), "valid").argmax())
    taken = slice(start, start + count)
    # The limits are those of the scan, not of what is shown of it.
    scaled = Intensity(window=intensity.limits(voxels)).normalise(voxels[..., taken])
    image = np.rint((scaled + 1) * 127.5).astype(np.uint8)
    volumes = {"image": image, "reference": reference[..., taken], "prediction": prediction[..., taken]}
    return list(range(start, start + count)), {
        name: np.ascontiguousarray(np.moveaxis(volume, 2, 0)) for name, volume in volumes.items()
    }


def _ranked(scores: Mapping[str, float]) -> list[str]:
    """Return cases by DSC, the worst first."""
    return sorted(scores, key=lambda case: (scores[case], case))
