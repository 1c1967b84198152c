"""Section: predicted against reference volumes."""

from typing import Any

from mosaic_pipeline.segmentation.reporting.figures.volumes import volume_plot
from mosaic_pipeline.segmentation.reporting.results import Results


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section: (title, figure) of each set; None where no case has an organ."""
    found = [(results.title(name), volume_plot(results, name)) for name in results.datasets]
    figures = [(title, figure) for title, figure in found if figure]
    return {"figures": figures, "seed": results.seeds[0]} if figures else None
