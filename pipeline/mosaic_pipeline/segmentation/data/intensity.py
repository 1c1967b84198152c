"""From what a scanner stored to what the network sees: -1 to 1, in float32 before anything narrower.

The CT has a unit of its own, so a window in Hounsfield units means the same in every scan. MRI has none: the same
tissue is 300 in one scan and 1,700,000 in another, which no float16 holds, so each scan is scaled by its percentiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.present import present


@dataclass(frozen=True)
class Intensity:
    """Which values become -1 and 1; what lies outside is cut off. Exactly one of both is given."""

    window: tuple[float, float] | None = None  # in the unit of the scans
    percentiles: tuple[float, float] | None = None  # of each scan as a whole

    def form(self) -> dict[str, list[float]]:
        """Return it as JSON has it: what is given, by its name."""
        given = {"window": self.window, "percentiles": self.percentiles}
        return {name: list(pair) for name, pair in given.items() if pair is not None}

    def limits(self, volume: NDArray) -> tuple[float, float]:
        """Return the two values for one scan; the same twice only if all of its voxels are."""
        if self.window is not None:
            return self.window
        low, high = (float(value) for value in np.percentile(volume, present(self.percentiles)))
        # Where one value fills nearly everything, what stands out of it is all there is to see.
        return (low, high) if low < high else (float(volume.min()), float(volume.max()))

    def normalise(self, volume: NDArray) -> NDArray[np.float32]:
        """Return a scan, any shape and type, as float32 between -1 and 1; a constant one is -1 throughout."""
        low, high = self.limits(volume)
        # In float64 where float32 does not hold every value: an offset may be larger than what stands out of it.
        scaled = np.subtract(volume, low, dtype=np.result_type(volume.dtype, np.float32)).astype(np.float32)
        scaled *= np.float32(2 / (high - low) if low < high else 0)
        scaled -= 1
        return np.clip(scaled, -1, 1, out=scaled)


def intensity_of(modality: str, ct_window: Sequence[float], percentiles: Sequence[float]) -> Intensity:
    """Return how scans of a modality are scaled: CT by its window, all else by percentiles."""
    if modality == "ct":
        return Intensity(window=(float(ct_window[0]), float(ct_window[1])))
    return Intensity(percentiles=(float(percentiles[0]), float(percentiles[1])))
