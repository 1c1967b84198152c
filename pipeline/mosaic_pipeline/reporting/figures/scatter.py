"""Figure: mean accuracy of each variant against its trainable parameters, every point labelled by name."""

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mosaic_pipeline.present import present
from mosaic_pipeline.reporting.figures.labels import label_points
from mosaic_pipeline.reporting.means import mean_over, over
from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.sentences import TITLES
from mosaic_pipeline.reporting.svg import INK, SERIES, inline_svg, styled
from mosaic_pipeline.reporting.wording import percent, range_percent, short


@styled
def scatter_plot(results: Results, metric: str) -> Markup | None:
    """A point for each variant, and a band for the main one's interval; None if no dataset has the metric.

    Intervals of all would cover each other, for variants are often of one size; they are in the text alternative.
    """
    means = {variant: mean_over(results, variant, metric, results.datasets) for variant in results.beside_main}
    if any(mean.value is None for mean in means.values()):
        return None
    trainable = {
        variant: results.runs[variant, results.seeds[0]].training.parameters.trainable
        for variant in results.beside_main
    }
    figure = Figure(figsize=(5.2, 3.4 + 0.12 * max(0, len(means) - 6)), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    for variant, mean in means.items():
        main = variant == results.main
        look = {"marker": "D", "color": SERIES[1], "zorder": 4} if main else {"marker": "o", "color": SERIES[0]}
        axes.plot([trainable[variant]], [100 * present(mean.value)], **look)
    low, high = min(trainable.values()), max(trainable.values())
    axes.set_xlim(low / 1.6, high * 1.6)
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    label = "trainable parameters, logarithmic"
    if interval := means[results.main].interval:
        axes.axhspan(*(100 * bound for bound in interval), color=SERIES[1], alpha=0.13, linewidth=0)
        label += f"; band: 95 % interval of {results.main} over {over(results)}"
    axes.set_xlabel(label)
    axes.set_ylabel(f"mean test {TITLES[metric]}, %")
    points = [(variant, trainable[variant], 100 * present(means[variant].value)) for variant in means]
    label_points(axes, points, INK)
    described = "; ".join(
        f"{name} {short(trainable[name])}, {percent(mean.value)} % ({range_percent(mean.interval)})"
        for name, mean in means.items()
    )
    title = f"Mean test {TITLES[metric]} with 95 % interval against trainable parameters"
    return inline_svg(figure, f"scatter-{metric}", title, described + ".")


def _tick(value: float) -> str:
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value >= 1e3 else f"{value:g}"
