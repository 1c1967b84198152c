"""Section: every set, with a page of its own, and what is odd about it."""

from typing import Any

from mosaic_pipeline.segmentation.reporting.results import Results
from mosaic_pipeline.segmentation.reporting.sections.setup import trained_on


def build(results: Results) -> dict[str, Any]:
    """Content of the section: (page, title, facts, findings, licence, citation) of each set."""
    parts = []
    for name in results.datasets:
        each = results.result(name)
        parts.append(
            (f"{name}.html", each.title, trained_on(results, name), each.findings, each.licence, each.citation)
        )
    return {"parts": parts}
