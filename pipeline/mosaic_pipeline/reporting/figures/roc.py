"""Figure: ROC curve of one dataset, the mean over its classes or labels."""

import math

from markupsafe import Markup
from matplotlib.figure import Figure

from mosaic_pipeline.reporting.svg import INK, SERIES, inline_svg, styled
from mosaic_pipeline.reporting.wording import with_unit


@styled
def roc_curve(dataset: str, title: str, fpr: list[float], tpr: list[float], auc: float | None) -> Markup | None:
    """Return the curve over the diagonal of chance; None if it is undefined."""
    if not tpr or any(map(math.isnan, tpr)):
        return None
    figure = Figure(figsize=(2.9, 2.7), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color=INK, linewidth=0.6, linestyle=(0, (2, 2)))
    axes.plot([100 * x for x in fpr], [100 * y for y in tpr], color=SERIES[0])
    axes.set_aspect("equal")
    axes.set_xlim(-2, 102)
    axes.set_ylim(-2, 102)
    axes.set_xticks([0, 50, 100])
    axes.set_yticks([0, 50, 100])
    axes.set_xlabel("false positives, %")
    axes.set_ylabel("true positives, %")
    heading = f"Macro-averaged ROC curve of {title}"
    at = [f"{100 * y:.0f} % at {100 * x:.0f} %" for x, y in zip(fpr, tpr, strict=True) if round(100 * x) in (5, 10, 20)]
    description = f"AUC {with_unit(auc)}. True positives at false positives: {', '.join(at)}."
    return inline_svg(figure, f"roc-{dataset}", heading, description)
