"""Figure: every case by name, with the mean DSC of each variant."""

from markupsafe import Markup
from matplotlib.figure import Figure

from mosaic_pipeline.reporting.svg import INK, SERIES, inline_svg, styled
from mosaic_pipeline.reporting.wording import percent
from mosaic_pipeline.segmentation.reporting.means import of_cases
from mosaic_pipeline.segmentation.reporting.results import Results

SHOWN = 40  # cases, the main variant's worst
DRAWN = 4  # variants: more than that cannot be told apart
MARKERS = ("D", "o", "^", "s")


def cases_shown(results: Results, dataset: str) -> list[int]:
    """Places of the cases that are drawn, the main variant's worst first; those without any organ are left out."""
    own = of_cases(results, results.main, dataset, "dsc")
    known = [place for place, value in enumerate(own) if value is not None]
    return sorted(known, key=lambda place: (own[place], place))[:SHOWN]


@styled
def case_dots(results: Results, dataset: str) -> Markup | None:
    """A row for each case, the worst on top, and a point for each of the first variants; None without any case."""
    places, result = cases_shown(results, dataset), results.result(dataset)
    if not places:
        return None
    variants = results.variants[:DRAWN]
    values = {variant: of_cases(results, variant, dataset, "dsc") for variant in variants}
    figure = Figure(figsize=(5.2, 0.95 + 0.19 * len(places)), layout="constrained")
    axes = figure.subplots()
    # The main variant last, on top of the others.
    for index, variant in reversed(list(enumerate(variants))):
        points = [(100 * value, row) for row, p in enumerate(places) if (value := values[variant][p]) is not None]
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            linestyle="none",
            label=variant,
            color=SERIES[1 - index if index < 2 else index],
            marker=MARKERS[index],
            markersize=4.5,
        )
    names = [result.cases[place].case for place in places]
    axes.set_yticks(range(len(places)), [name if len(name) <= 24 else f"{name[:10]}…{name[-12:]}" for name in names])
    axes.tick_params(axis="y", length=0, labelsize=7.5)
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.set_xlim(-3, 103)
    axes.set_xlabel("mean DSC of a case over its organs, %")
    axes.axvline(0, color=INK, linewidth=0.6, zorder=1)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper left", ncols=len(variants), fontsize=8)
    described = "; ".join(
        f"{result.cases[place].case}: "
        + ", ".join(f"{variant} {percent(values[variant][place])} %" for variant in variants)
        for place in places
    )
    title = f"Mean DSC of each case of {result.title}, worst first, in percent"
    return inline_svg(figure, f"cases-{dataset}", title, f"{described}.")
