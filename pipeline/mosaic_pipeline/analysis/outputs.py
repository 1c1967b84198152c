"""The file of the analyse stage."""

import json
import math
from collections.abc import Mapping
from typing import Any

from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.layout import analysis_file

ANALYSES = ("counterfactual", "similarity", "branch_ratio", "gate")
# What is kept of a number: more than anyone reads, and fewer than the digits in which ways of summing differ.
DIGITS = 6


def write_analyses(head: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Write analysis/<variant>/<seed>.json: `head` (variant, seed, cases) and every analysis.

    One without a result is null. Numbers have DIGITS significant digits; one that is not finite is null.
    """
    tree = dict(head) | {name: plain(results.get(name)) for name in ANALYSES}
    write_text(analysis_file(head["variant"], head["seed"]), json.dumps(tree, indent=1, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Return a result as JSON takes it: with DIGITS significant digits, None for what is not finite."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
