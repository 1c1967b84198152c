"""Figure: the difference of each variant to the main one, with its interval."""

from markupsafe import Markup

from mosaic_pipeline.reporting.comparisons import Comparison
from mosaic_pipeline.reporting.figures.differences import Row, difference_plot
from mosaic_pipeline.reporting.sentences import TITLES


def forest_plot(comparisons: dict[str, Comparison]) -> Markup | None:
    """A row for each other variant, the highest on top; None without any."""
    if not comparisons:
        return None
    first = next(iter(comparisons.values()))
    metric, interval = first.metric, " with 95 % interval" if first.estimate.repeated else ""
    return difference_plot(
        [Row(each.other, each.difference, each.interval, each.verdict) for each in comparisons.values()],
        name=f"forest-{metric}",
        label=f"{TITLES[metric]}, variant minus {first.main}, points",
        title=f"Difference in mean {TITLES[metric]} to {first.main}{interval}, in points",
    )
