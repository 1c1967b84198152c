"""Section: how training went, by phase."""

from itertools import product
from typing import Any

from mosaic_pipeline.reporting.table import Cell, Table
from mosaic_pipeline.reporting.wording import count, listing, percent
from mosaic_pipeline.segmentation.reporting.figures.curves import PHASES, training_curves
from mosaic_pipeline.segmentation.reporting.results import Results


def build(results: Results) -> dict[str, Any]:
    """Content of the section."""
    curves = [
        (variant, training_curves(results, variant, f"curves-{place}")) for place, variant in enumerate(results.on_page)
    ]
    return {"curves": curves, "table": runs_table(results)}


def runs_table(results: Results) -> Table:
    """Rows: trainings; what each one did."""
    rows = []
    for variant, seed in product(results.on_page, results.seeds):
        run = results.runs[variant, seed]
        training = run.training
        ends = [*list(training.phases.values())[1:], training.rounds]
        phases = ", ".join(
            f"{end - start} of {PHASES.get(name, name)}"
            for (name, start), end in zip(training.phases.items(), ends, strict=True)
        )
        cells = [
            f"{variant}, seed {seed}",
            phases,
            {"early": "early", "complete": "after the last round"}[training.stopped],
            str(training.best_round),
            percent(training.score),
            count(training.steps),
            training.precision,
        ]
        rows.append([Cell(text) for text in cells])
    return Table(
        name="runs",
        caption="Trainings. Score: best validation DSC of the last phase in percent, of whole volumes on the network's "
        "grid; it chooses the round, and is no result. Times and speeds are in MLflow, with the run.",
        header=["Variant", "Rounds", "Stopped", "Best round", "Score", "Steps", "Precision"],
        rows=rows,
        text_columns=(1, 2, 6),
        notes=joined_later(results),
    )


def joined_later(results: Results) -> list[str]:
    """Say of each variant with sets that joined later what its scores were of before."""
    later = {variant: results.configs[variant].datasets_in("adapt") for variant in results.on_page}
    return [
        f"{variant}: in the rounds before {listing([results.title(name) for name in names])} joined, the score is of "
        "the other sets."
        for variant, names in later.items()
        if names
    ]
