"""Section: how training went."""

from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mosaic_pipeline.reporting.figures.thinned import POINTS, thinned
from mosaic_pipeline.reporting.results import Results, Run, once
from mosaic_pipeline.reporting.svg import DASHES, SERIES, dots, inline_svg, styled
from mosaic_pipeline.reporting.table import Cell, Table
from mosaic_pipeline.reporting.tuning import tuning_table
from mosaic_pipeline.reporting.wording import count, percent

BY_DATASET = "by dataset"  # each dataset's own


def build(results: Results) -> dict[str, Any]:
    """Content of the section."""
    return {
        "tuning": tuning_table(results),
        "runs": runs_table(results),
        "curves": [
            (variant, _curves(results, variant, f"curves-{index}")) for index, variant in enumerate(results.on_page)
        ],
        "thinned": POINTS if any(len(run.history["round"]) > POINTS for run in results.runs.values()) else None,
        "monitor": results.configs[results.main].train.monitor,
    }


def runs_table(results: Results) -> Table:
    """Rows: trainings; what each one did."""
    rows = []
    for variant, seed in product(results.on_page, results.seeds):
        run = results.runs[variant, seed]
        training = run.training
        planned = results.configs[variant].train.num_rounds
        cells = [
            f"{variant}, seed {seed}",
            f"{training.rounds} of {planned}",
            {"early": "early", "complete": "after the last round"}.get(training.stopped, training.stopped),
            BY_DATASET if training.best_round is None else str(training.best_round),
            BY_DATASET if training.best_round is None else training.deployed,
            percent(training.score),
            count(training.steps),
            training.precision,
        ]
        rows.append([Cell(text) for text in cells])
    return Table(
        name="runs",
        caption="Trainings. Score: best validation score in percent. Times and speeds are in MLflow, with the run.",
        header=["Variant", "Rounds", "Stopped", "Best round", "Deployed", "Score", "Steps", "Precision"],
        rows=rows,
        text_columns=(2, 4, 7),
    )


@styled
def _curves(results: Results, variant: str, name: str) -> Markup:
    """Validation score and training loss by round, a line for each seed; the same scales for all variants."""
    figure = Figure(figsize=(4.2, 3.4), layout="constrained")
    score, loss = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    runs = [results.runs[variant, seed] for seed in results.seeds]
    for run in runs:
        rounds = run.history["round"]
        for index, model in enumerate(("student", "teacher")):
            line = thinned(rounds, 100 * run.history[f"{model}_score"])
            score.plot(*line, color=SERIES[index], linestyle=DASHES[index], **dots(rounds), label=model)
        loss.plot(*thinned(rounds, run.history["train_loss"]), color=SERIES[2], **dots(rounds))
        if run.training.best_round is not None:
            deployed = run.history[f"{run.training.deployed}_score"][run.training.best_round - 1]
            score.plot(
                [run.training.best_round],
                [100 * deployed],
                "o",
                color=SERIES[3],
                markersize=9,
                fillstyle="none",
                label="deployed",
            )
    handles, labels = score.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    score.legend(once.values(), once.keys(), loc="lower right")
    score.set_ylabel("validation score, %")
    loss.set_ylabel("training loss")
    loss.set_xlabel("round")
    loss.xaxis.set_major_locator(MaxNLocator(integer=True))
    scores, losses = _axes(results)
    score.set_ylim(*scores)
    loss.set_ylim(*losses)
    description = " ".join(_describe(run) for run in runs)
    return inline_svg(figure, name, f"Validation score and training loss of {variant} by round", description)


@once
def _axes(results: Results) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ends of the axes of scores, in percent, and of losses: those of all trainings."""
    everywhere = [run.history for run in results.runs.values()]
    return (
        _limits(100 * history[f"{model}_score"] for history in everywhere for model in ("student", "teacher")),
        _limits(history["train_loss"] for history in everywhere),
    )


def _limits(lines: Iterable[np.ndarray]) -> tuple[float, float]:
    known = [line[np.isfinite(line)] for line in lines]
    finite = [float(end) for line in known if len(line) for end in (line.min(), line.max())] or [0.0, 1.0]
    margin = 0.06 * (max(finite) - min(finite)) or 0.5
    return min(finite) - margin, max(finite) + margin


def _describe(run: Run) -> str:
    own = run.training.best_round is None
    model = "student" if own else run.training.deployed
    scores = run.history[f"{model}_score"]
    best = "each dataset deployed from its own best round" if own else f"best in round {run.training.best_round}"
    return (
        f"Seed {run.seed}: the validation score of the {model} goes from {100 * scores[0]:.1f} % "
        f"in round 1 to {100 * scores[-1]:.1f} % in round {len(scores)}, {best}."
    )
