"""Figure: differences of predicted and reference volumes against their mean (Bland and Altman, Lancet 1986)."""

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mosaic_pipeline.reporting.svg import INK, SERIES, inline_svg, styled
from mosaic_pipeline.reporting.wording import count, plural
from mosaic_pipeline.segmentation.reporting.records import OrganResult
from mosaic_pipeline.segmentation.reporting.results import Results

LOOKS = {"hit": ("o", SERIES[0]), "missed": ("v", SERIES[1]), "invented": ("^", SERIES[3])}


def records(results: Results, dataset: str) -> list[OrganResult]:
    """Organs of all cases of the main variant's first seed, absent ones left out."""
    cases = results.result(dataset).cases
    return [each for case in cases for each in case.organs if each.status != "absent"]


def relative_error(record: OrganResult) -> float:
    """Difference over the mean of both volumes: -2 for a miss, 2 for an invention, and finite for both."""
    both = record.volume_pred_ml + record.volume_ref_ml
    return 2 * (record.volume_pred_ml - record.volume_ref_ml) / both


@styled
def volume_plot(results: Results, dataset: str) -> Markup | None:
    """A point for each organ of each case: relative difference over the mean volume, logarithmic."""
    found, result = records(results, dataset), results.result(dataset)
    if not found:
        return None
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axes = figure.subplots()
    for status, (marker, colour) in LOOKS.items():
        of_kind = [each for each in found if each.status == status]
        axes.plot(
            [(each.volume_pred_ml + each.volume_ref_ml) / 2 for each in of_kind],
            [100 * relative_error(each) for each in of_kind],
            linestyle="none",
            marker=marker,
            color=colour,
            markersize=3.5,
            label=f"{status} ({count(len(of_kind))})",
            alpha=0.7,
        )
    axes.axhline(0, color=INK, linewidth=0.9, zorder=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(-212, 212)
    axes.set_yticks([-200, -100, 0, 100, 200])
    axes.set_xlabel("mean of both volumes, ml, logarithmic")
    axes.set_ylabel("predicted minus reference,\n% of the mean of both")
    figure.legend(loc="outside upper left", ncols=3, fontsize=8)
    hits = sorted(100 * relative_error(each) for each in found if each.status == "hit")
    middle = f"; median difference over hits {hits[len(hits) // 2]:+.0f} %" if hits else ""
    described = ", ".join(f"{plural(sum(e.status == s for e in found), 'organ')} {s}" for s in LOOKS)
    title = f"Predicted against reference volumes on {result.title} by {results.main}"
    return inline_svg(figure, f"volumes-{dataset}", title, f"{described}{middle}.")
