"""Figure: the difference of each variant to the main one, with its interval."""

from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.reporting.comparisons import Comparison
from pipeline.reporting.sentences import TITLES
from pipeline.reporting.svg import INK, PAPER, SERIES, inline_svg, styled
from pipeline.reporting.wording import bounds, signed

# By verdict; filled where a difference is called, hollow where not.
COLOURS = {"higher": SERIES[0], "lower": SERIES[1]}


@styled
def forest_plot(comparisons: dict[str, Comparison]) -> Markup | None:
    """A row for each other variant, the highest on top; None without any."""
    rows = sorted(comparisons.values(), key=lambda comparison: -comparison.difference)
    if not rows:
        return None
    figure = Figure(figsize=(5.2, 0.75 + 0.23 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        colour = COLOURS.get(row.verdict)
        if row.interval:
            axes.plot([100 * bound for bound in row.interval], [place, place], color=colour or INK, linewidth=1.4)
        axes.plot(
            [100 * row.difference],
            [place],
            "o",
            color=colour or INK,
            markersize=5.5,
            markerfacecolor=colour or PAPER,
        )
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)  # between the grid and the intervals
    axes.set_yticks(range(len(rows)), [row.other for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"{TITLES[rows[0].metric]}, variant minus {rows[0].main}, points")
    described = "; ".join(
        f"{row.other} {signed(row.difference)}{f' ({bounds(row.interval)})' if row.interval else ''}, {row.verdict}"
        for row in rows
    )
    metric, interval = rows[0].metric, " with 95 % interval" if rows[0].estimate.repeated else ""
    title = f"Difference in mean {TITLES[metric]} to {rows[0].main}{interval}, in points"
    return inline_svg(figure, f"forest-{metric}", title, described + ".")
