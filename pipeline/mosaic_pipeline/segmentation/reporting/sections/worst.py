"""Section: the worst case of each set, before any better one."""

from typing import Any

from mosaic_pipeline.segmentation.reporting.overlays import draw
from mosaic_pipeline.segmentation.reporting.results import Results

SIDE = 192  # pixels; larger ones are on the sets' pages


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section: (page, title, picture) of each set that has pictures."""
    parts = []
    for name, overlays in results.overlays.items():
        worst = [overlay for overlay in overlays if overlay.kind == "worst"]
        if worst:
            parts.append(
                (
                    f"{name}.html",
                    results.title(name),
                    draw(worst[0], results.result(name).organs, f"worst-{name}", SIDE, 1),
                )
            )
    return {"parts": parts} if parts else None
