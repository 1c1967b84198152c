"""A test in two files: a JSON that sums it up, and beside it the npz with what is summed up."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.npz import write_npz


def write_summary(path: Path, summary: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a JSON file, and beside it the npz with the arrays that it sums up, which goes first."""
    write_npz(path.with_suffix(".npz"), arrays)
    write_text(path, json.dumps(summary, indent=1, allow_nan=False) + "\n")
