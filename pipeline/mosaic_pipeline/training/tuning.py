"""The choice between the candidates of a variant: what the training of each came to, and the best by validation."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from mosaic_pipeline.candidates import Candidates
    from mosaic_pipeline.training.trainer import CyclicTrainer

Trial = dict[str, float | int | None]

# What a training came to that did not stay finite.
DIVERGED: Trial = dict.fromkeys(("score", "acc", "auc", "best_round"))


def trial_of(trainer: "CyclicTrainer") -> Trial:
    """Return score, ACC and AUC of a finished training's best round on the validation splits.

    They are fractions, None where undefined; rounds count from 1.
    """
    best = trainer.best
    row = trainer.history[best.round - 1]
    measured = {measure: row[f"{best.deployed}_{measure}"] for measure in ("acc", "auc")}
    defined = {measure: value if math.isfinite(value) else None for measure, value in measured.items()}
    return {"score": best.score, **defined, "best_round": best.round}


def choose(variant: str, trials: Sequence[Trial]) -> int:
    """Return the index of the highest validation score, the first one's on a tie.

    Raises PipelineError if no training stayed finite.
    """
    scores = [-math.inf if trial["score"] is None else trial["score"] for trial in trials]
    if max(scores) == -math.inf:
        raise PipelineError(
            f"{variant}: every candidate diverged; try smaller values of train.lr in ablation.tune.grid"
        )
    return scores.index(max(scores))


def write_tuning(path: Path, variant: str, candidates: "Candidates", trials: Sequence[Trial], chosen: int) -> None:
    """Write what was tried, with its results, and the index of what was chosen; an untuned variant has no trials."""
    record: dict[str, Any] = {"variant": variant, "seed": candidates.seed, "chosen": None, "candidates": []}
    if trials:
        tried = [{"values": each.values} | trial for each, trial in zip(candidates.tried, trials, strict=True)]
        record |= {"chosen": chosen, "candidates": tried}
    write_text(path, json.dumps(record, indent=2) + "\n")
