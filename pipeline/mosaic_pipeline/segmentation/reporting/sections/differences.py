"""Section: every variant beside the main one, with intervals."""

from typing import Any

from mosaic_pipeline.reporting.figures.differences import Row, difference_plot
from mosaic_pipeline.segmentation.reporting.results import TESTED, TITLES, Results
from mosaic_pipeline.segmentation.reporting.sentences import interval_of, verdict_words


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section: figures as (metric, figure); None where nothing is compared."""
    if not results.others or not results.by_patient:
        return None
    repeated = len(results.seeds) > 1
    over = "trainings and patients" if repeated else "patients"
    forest = []
    for metric in TESTED:
        compared = [each for other, each in results.comparisons[metric].items() if other in results.on_page]
        title = f"Difference in mean {TITLES[metric]} to {results.main} with 95 % interval over {over}, in points"
        figure = difference_plot(
            [Row(each.other, each.estimate.value, interval_of(each), verdict_words(each)) for each in compared],
            name=f"forest-{metric}",
            label=f"{TITLES[metric]}, variant minus {results.main}, points",
            title=title,
        )
        forest.append((TITLES[metric], figure))
    return {"forest": forest, "repeated": repeated, "over": over}
