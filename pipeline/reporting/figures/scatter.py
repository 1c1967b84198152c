"""Figure: mean accuracy of each variant against its trainable parameters, every point labelled by name."""

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pipeline.reporting.figures.labels import label_points
from pipeline.reporting.means import mean_over
from pipeline.reporting.results import Results
from pipeline.reporting.sentences import TITLES
from pipeline.reporting.svg import INK, SERIES, inline_svg, styled
from pipeline.reporting.wording import percent, short


@styled
def scatter_plot(results: Results, metric: str) -> Markup | None:
    """Points with their intervals; the main variant stands out. None if no dataset has the metric."""
    means = {variant: mean_over(results, variant, metric, results.datasets) for variant in results.variants}
    if any(mean.value is None for mean in means.values()):
        return None
    trainable = {
        variant: results.runs[variant, results.seeds[0]].training.parameters.trainable for variant in results.variants
    }
    figure = Figure(figsize=(5.2, 3.4 + 0.12 * max(0, len(means) - 6)), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    for variant, mean in means.items():
        main = variant == results.main
        look = {"marker": "D", "color": SERIES[1], "zorder": 4} if main else {"marker": "o", "color": SERIES[0]}
        axes.plot([trainable[variant]], [100 * mean.value], **look)
    low, high = min(trainable.values()), max(trainable.values())
    axes.set_xlim(low / 1.6, high * 1.6)
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("trainable parameters, logarithmic")
    axes.set_ylabel(f"mean test {TITLES[metric]}, %")
    points = [(variant, trainable[variant], 100 * means[variant].value) for variant in results.variants]
    label_points(axes, points, INK)
    described = "; ".join(f"{name} {short(trainable[name])}, {percent(mean.value)} %" for name, mean in means.items())
    title = f"Mean test {TITLES[metric]} against trainable parameters"
    return inline_svg(figure, f"scatter-{metric}", title, described + ".")


def _tick(value: float) -> str:
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value >= 1e3 else f"{value:g}"
