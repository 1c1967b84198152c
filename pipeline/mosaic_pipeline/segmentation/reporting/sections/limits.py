"""Section: what the evidence cannot show, and how to make it again."""

from typing import Any

from mosaic_pipeline.segmentation.reporting.results import Results
from mosaic_pipeline.segmentation.reporting.sentences import limits


def build(results: Results) -> dict[str, Any]:
    """Content of the section."""
    return {"sentences": limits(results), "repeated": len(results.seeds) > 1}
