"""Figure: reliability diagram, how often the model is right at each confidence."""

from markupsafe import Markup
from matplotlib.figure import Figure

from mosaic_pipeline.present import present
from mosaic_pipeline.reporting.records import DatasetResult
from mosaic_pipeline.reporting.svg import INK, SERIES, inline_svg, styled
from mosaic_pipeline.reporting.wording import UNDEFINED, count, with_unit

LARGEST = 50  # area of the largest point, in square points


def noun(result: DatasetResult) -> str:
    """What a bin counts: each label of a multi-label image is an answer of its own."""
    return "answers" if result.multi_label else "cases"


@styled
def reliability_diagram(dataset: str, result: DatasetResult) -> Markup | None:
    """Accuracy over confidence for each bin with cases, and how many cases each holds; None without bins.

    The area of a point is that number: a bin of one case is right or wrong by chance.
    """
    bins = [(n, present(sure), present(right)) for n, sure, right in result.reliability if n]
    if not bins:
        return None
    figure = Figure(figsize=(2.9, 2.7), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 100], [0, 100], color=INK, linewidth=0.6, linestyle=(0, (2, 2)))
    confidence = [100 * row[1] for row in bins]
    accuracy = [100 * row[2] for row in bins]
    axes.plot(confidence, accuracy, color=SERIES[0], linewidth=0.7)
    most = max(row[0] for row in bins)
    axes.scatter(confidence, accuracy, [LARGEST * row[0] / most for row in bins], color=SERIES[0], linewidth=0)
    axes.set_ylim(-4, 104)
    axes.set_yticks([0, 50, 100])
    axes.set_ylabel("accuracy, %")
    width = 100 / len(result.reliability)
    places = [100 * place / len(result.reliability) for place, row in enumerate(result.reliability) if row[0]]
    counts.bar(places, [row[0] for row in bins], width=0.9 * width, align="edge", color=SERIES[0])
    counts.set_xlim(-2, 102)
    counts.set_xticks([0, 50, 100])
    counts.set_yticks([0, most])
    counts.set_ylabel(noun(result))
    counts.set_xlabel("confidence, %")
    title = f"Reliability of {result.data.title}: accuracy by confidence"
    described = "; ".join(
        f"confidence {100 * c:.0f} %: right {100 * a:.0f} % of {count(n)} {noun(result)}" for n, c, a in bins
    )
    ece = UNDEFINED if result.ece is None else with_unit(result.ece)
    return inline_svg(figure, f"reliability-{dataset}", title, f"ECE {ece}. {described}.")
