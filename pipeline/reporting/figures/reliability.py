"""Figure: reliability diagram, how often the model is right at each confidence."""

from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.datasets import DATASETS
from pipeline.reporting.records import DatasetResult
from pipeline.reporting.svg import INK, SERIES, inline_svg, styled
from pipeline.reporting.wording import UNDEFINED, count, with_unit


@styled
def reliability_diagram(dataset: str, result: DatasetResult) -> Markup | None:
    """Accuracy over confidence for each bin with cases, and how many cases each holds; None without bins."""
    bins = [row for row in result.reliability if row[0]]
    if not bins:
        return None
    figure = Figure(figsize=(2.9, 2.7), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 100], [0, 100], color=INK, linewidth=0.6, linestyle=(0, (2, 2)))
    confidence = [100 * row[1] for row in bins]
    axes.plot(confidence, [100 * row[2] for row in bins], color=SERIES[0], marker="o", markersize=3.5)
    axes.set_ylim(-4, 104)
    axes.set_yticks([0, 50, 100])
    axes.set_ylabel("accuracy, %")
    width = 100 / len(result.reliability)
    places = [100 * place / len(result.reliability) for place, row in enumerate(result.reliability) if row[0]]
    counts.bar(places, [row[0] for row in bins], width=0.9 * width, align="edge", color=SERIES[0])
    counts.set_xlim(-2, 102)
    counts.set_xticks([0, 50, 100])
    counts.set_yticks([0, max(row[0] for row in bins)])
    counts.set_ylabel("cases")
    counts.set_xlabel("confidence, %")
    title = f"Reliability of {DATASETS[dataset].title}: accuracy by confidence"
    described = "; ".join(f"confidence {100 * c:.0f} %: right {100 * a:.0f} % of {count(n)}" for n, c, a in bins)
    ece = UNDEFINED if result.ece is None else with_unit(result.ece)
    return inline_svg(figure, f"reliability-{dataset}", title, f"ECE {ece}. {described}.")
