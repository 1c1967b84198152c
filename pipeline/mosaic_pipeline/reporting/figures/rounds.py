"""Figure: validation of one dataset by round."""

import math

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mosaic_pipeline.reporting.figures.thinned import thinned
from mosaic_pipeline.reporting.results import METRICS, Results
from mosaic_pipeline.reporting.svg import DASHES, SERIES, dots, inline_svg, styled


@styled
def dataset_curves(results: Results, dataset: str) -> Markup:
    """Validation ACC and AUC of the main variant's deployed model by round."""
    figure = Figure(figsize=(2.9, 2.7), layout="constrained")
    axes = figure.subplots()
    ends = []
    for run in (results.runs[results.main, seed] for seed in results.seeds):
        rounds = run.history["round"]
        for index, metric in enumerate(METRICS):
            values = 100 * run.history[f"{dataset}/{run.training.deployed_on(dataset)}_{metric}"]
            axes.plot(*thinned(rounds, values), color=SERIES[index], linestyle=DASHES[index], **dots(rounds))
            ends.append(
                f"{metric.upper()} undefined."
                if all(map(math.isnan, values))
                else f"{metric.upper()} {values[0]:.1f} in the first round, {values[-1]:.1f} in the last."
            )
    axes.set_ylim(0, 103)
    axes.set_yticks([0, 50, 100])
    axes.set_xlabel("round")
    axes.set_ylabel("validation, %")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    title = f"Validation ACC and AUC on {results.title(dataset)} by round, in percent"
    return inline_svg(figure, f"rounds-{dataset}", title, " ".join(ends))
