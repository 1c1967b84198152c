"""What a corrupted test image costs: CPU time by kind, size and channels."""

import time

import numpy as np

from benchmarks.result import Result
from mosaic_pipeline.data.corruptions import KINDS, corrupt

STRENGTH = 3
SHAPES = {
    "28 px, gray": (28, 28),
    "28 px, colour": (28, 28, 3),
    "224 px, colour": (224, 224, 3),
    "28 voxels a side": (28, 28, 28),
    "64 voxels a side": (64, 64, 64),
}


def run(repeats: int) -> Result:
    """Corrupt one random image of each shape by each kind; milliseconds of CPU of every repetition, one core."""
    rows = []
    for name, shape in SHAPES.items():
        image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        dimension = 3 if "voxels" in name else 2
        costs = {kind: [_milliseconds(image, dimension, kind) for _ in range(repeats)] for kind in KINDS}
        rows.append({"stored image": name} | costs | {"all": [sum(each) for each in zip(*costs.values(), strict=True)]})
    return Result("corruptions", rows, [f"Milliseconds of CPU an image, strength {STRENGTH}."])


def _milliseconds(image: np.ndarray, dimension: int, kind: str) -> float:
    corrupt(image, dimension, kind, STRENGTH, "0")
    count, started = 0, time.process_time()
    while (spent := time.process_time() - started) < 0.1:
        corrupt(image, dimension, kind, STRENGTH, str(count))
        count += 1
    return 1000 * spent / count
