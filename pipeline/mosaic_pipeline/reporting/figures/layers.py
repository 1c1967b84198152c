"""Figure: a quantity by layer of the ViT, a few lines, each named at its end."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mosaic_pipeline.reporting.svg import DASHES, SERIES, inline_svg, styled

if TYPE_CHECKING:
    from mosaic_pipeline.reporting.results import Results

GAP = 0.055  # of the axis, between the names of two lines


@dataclass(frozen=True)
class Line:
    """Values by layer [L], nan where undefined, and a band [2, L] around them, if any."""

    values: np.ndarray
    band: np.ndarray | None = None


def by_group(results: "Results", values: Mapping[str, Sequence[float]]) -> dict[str, np.ndarray]:
    """Values by layer [datasets, L] of each group of datasets that has any."""
    groups = {
        specialist: [values[name] for name in names if name in values] for specialist, names in results.groups.items()
    }
    return {specialist: np.array(layers) for specialist, layers in groups.items() if layers}


def highest(groups: Iterable[Mapping[str, np.ndarray]]) -> float:
    """Highest value of several figures' groups [datasets, L]: the top of an axis that they share."""
    return float(max(values.max() for group in groups for values in group.values()))


def group_lines(groups: Mapping[str, np.ndarray]) -> dict[str, Line]:
    """The mean of each group [datasets, L], with a band from its lowest to its highest dataset."""
    return {
        f"group {name} ({len(values)})": Line(values.mean(axis=0), np.array([values.min(axis=0), values.max(axis=0)]))
        for name, values in groups.items()
    }


@styled
def layer_plot(lines: Mapping[str, Line], *, name: str, label: str, title: str, top: float) -> Markup:
    """Return the figure, its axis from 0, or the lowest value below, to `top`; colours come again if need be."""
    figure = Figure(figsize=(5.2, 2.7), layout="constrained")
    axes = figure.subplots()
    for index, (colour, line) in enumerate(zip(cycle(SERIES), lines.values(), strict=False)):
        layers = np.arange(1, len(line.values) + 1)
        dash = DASHES[(index + index // len(SERIES)) % len(DASHES)]
        axes.plot(layers, line.values, color=colour, linestyle=dash, marker="o", markersize=2.5)
        if line.band is not None:
            axes.fill_between(layers, *line.band, color=colour, alpha=0.13, linewidth=0)
    lowest = min((float(value) for line in lines.values() for value in line.values if np.isfinite(value)), default=0)
    # A line at an end is not cut in half. Where all is 0, as the entropy of a single specialist, any height will do.
    axes.set_ylim(1.03 * min(0, lowest), 1.03 * top or 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("layer")
    axes.set_ylabel(label)
    low, high = axes.get_ylim()
    ends = [
        (colour, text, (float(line.values[-1]) - low) / (high - low))
        for colour, (text, line) in zip(cycle(SERIES), lines.items(), strict=False)
        if np.isfinite(line.values[-1])
    ]
    for (colour, text, _), place in zip(ends, spread_out([end for *_, end in ends]), strict=True):
        axes.text(1.02, place, text, transform=axes.transAxes, color=colour, fontsize=8, va="center")
    described = "; ".join(f"{text}: {_numbers(line.values)}" for text, line in lines.items())
    return inline_svg(figure, name, title, f"By layer: {described}.")


def spread_out(places: Sequence[float], gap: float = GAP) -> list[float]:
    """Move places apart to at least `gap`, keeping their order and, as far as that allows, their middle."""
    if not places:
        return []
    order = sorted(range(len(places)), key=lambda index: (places[index], index))
    moved = [places[index] for index in order]
    for index in range(1, len(moved)):
        moved[index] = max(moved[index], moved[index - 1] + gap)
    shift = fmean(places) - fmean(moved)
    result = [0.0] * len(places)
    for index, place in zip(order, moved, strict=True):
        result[index] = float(place + shift)
    return result


def _numbers(values: np.ndarray) -> str:
    return ", ".join("undefined" if not np.isfinite(value) else f"{value:.2f}" for value in values)
