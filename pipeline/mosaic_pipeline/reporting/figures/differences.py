"""Figure: differences with their intervals, a row each."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure

from mosaic_pipeline.reporting.svg import INK, PAPER, SERIES, inline_svg, styled
from mosaic_pipeline.reporting.wording import bounds, signed

# By verdict; filled where a difference is called, hollow where not.
COLOURS = {"higher": SERIES[0], "lower": SERIES[1]}


@dataclass(frozen=True)
class Row:
    """A difference as a fraction, and what is said of it in a word."""

    name: str
    difference: float
    interval: tuple[float, float] | None
    verdict: str


@styled
def difference_plot(differences: Sequence[Row], *, name: str, label: str, title: str) -> Markup | None:
    """A row for each difference, the highest on top; None without any."""
    rows = sorted(differences, key=lambda row: -row.difference)
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
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(label)
    described = "; ".join(
        f"{row.name} {signed(row.difference)}{f' ({bounds(row.interval)})' if row.interval else ''}, {row.verdict}"
        for row in rows
    )
    return inline_svg(figure, name, title, described + ".")
