"""Figure: validation DSC and training loss by round, with the phases."""

import math

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mosaic_pipeline.reporting.figures.thinned import thinned
from mosaic_pipeline.reporting.svg import DASHES, INK, SERIES, dots, inline_svg, styled
from mosaic_pipeline.segmentation.reporting.results import Results, Run

PHASES = {"pretrain": "masked modelling", "experts": "experts", "gate": "gate", "adapt": "added experts"}


def dsc_by_round(run: Run) -> list[float]:
    """Validation DSC, nan in rounds of masked modelling, whose score is another."""
    modelling = list(run.training.phases).index("pretrain") + 1 if "pretrain" in run.training.phases else None
    return [
        math.nan if phase == modelling else score
        for phase, score in zip(run.history["phase"], run.history["score"], strict=True)
    ]


def _line(rounds: list[float], values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return thinned(np.array(rounds), np.array(values))


def _highest(results: Results) -> float:
    """The highest validation DSC of all trainings, the top of an axis that all share."""
    if "highest" not in results.computed:
        every = [v for run in results.runs.values() for v in dsc_by_round(run) if math.isfinite(v)]
        results.computed["highest"] = max(every, default=1)
    return results.computed["highest"]


@styled
def training_curves(results: Results, variant: str, name: str) -> Markup:
    """A line for each seed; a rule where a phase begins, and a ring on the round that was deployed."""
    figure = Figure(figsize=(4.2, 3.4), layout="constrained")
    score, loss = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    described = []
    for index, run in enumerate(results.runs[variant, seed] for seed in results.seeds):
        rounds, values = run.history["round"], [100 * value for value in dsc_by_round(run)]
        dash, training = DASHES[index % len(DASHES)], run.training
        score.plot(*_line(rounds, values), color=SERIES[0], linestyle=dash, **dots(rounds))
        loss.plot(*_line(rounds, run.history["train_loss"]), color=SERIES[2], linestyle=dash, **dots(rounds))
        score.plot(
            [training.best_round],
            [values[training.best_round - 1]],
            "o",
            color=SERIES[1],
            markersize=9,
            fillstyle="none",
        )
        begins = [(done + 1, PHASES.get(phase, phase)) for phase, done in training.phases.items()]
        described.append(
            f"Seed {training.seed}: {', '.join(f'{phase} from round {first}' for first, phase in begins)}; deployed "
            "from "
            f"round {training.best_round} with a validation DSC of {100 * training.score:.1f} %."
        )
        for first, phase in begins if index == 0 else ():
            for axes in (score, loss):
                axes.axvline(first - 0.5, color=INK, linewidth=0.6, linestyle=(0, (2, 2)), zorder=1)
            score.text(first - 0.4, 1.01, phase, transform=score.get_xaxis_transform(), fontsize=7.5, va="bottom")
    score.set_ylabel("validation DSC, %")
    loss.set_ylabel("training loss")
    loss.set_xlabel("round")
    loss.xaxis.set_major_locator(MaxNLocator(integer=True))
    longest = max(run.training.rounds for run in results.runs.values())
    loss.set_xlim(0.4, longest + 0.6)
    score.set_ylim(0, 105 * _highest(results) or 1)
    return inline_svg(figure, name, f"Validation DSC and training loss of {variant} by round", " ".join(described))
