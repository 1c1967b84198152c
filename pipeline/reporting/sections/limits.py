"""Section: what the evidence cannot show, and how to make it again."""

from typing import Any

from pipeline.reporting.results import Results
from pipeline.reporting.sentences import limits


def build(results: Results) -> dict[str, Any]:
    """Content of the section."""
    return {"sentences": limits(results), "example": results.datasets[0]}
