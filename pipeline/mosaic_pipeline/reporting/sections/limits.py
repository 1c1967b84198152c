"""Section: what the evidence cannot show, and how to make it again."""

from typing import Any

from mosaic_pipeline.reporting.comparisons import planned
from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.sentences import limits
from mosaic_pipeline.reporting.wording import points


def build(results: Results) -> dict[str, Any]:
    """Content of the section."""
    return {
        "sentences": limits(results),
        "repeated": len(results.seeds) > 1,
        "margin": margin(results),
        "planned": bool(planned(results)) and len(results.others) > 1,
    }


def margin(results: Results) -> str | None:
    """The margin of non-inferiority in points; None without one."""
    return None if results.margin is None else points(results.margin)
