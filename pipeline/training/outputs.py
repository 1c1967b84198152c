"""The files of the train stage."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.atomic import write_text
from pipeline.training.model_file import save_model
from pipeline.training.trainer import CyclicTrainer


def write_outputs(folder: Path, trainer: CyclicTrainer, head: dict[str, Any], tail: dict[str, Any]) -> None:
    """Write model.safetensors, history.csv and, last, train.json: `head`, what the training came to, and `tail`."""
    best = trainer.best
    save_model(folder / "model.safetensors", student=best.student, teacher=best.teacher)
    write_text(folder / "history.csv", pd.DataFrame(trainer.history).to_csv(index=False, lineterminator="\n"))
    outcome = {
        "deployed": best.deployed,
        "best_round": best.round,
        "rounds": trainer.round,
        "gated_from": trainer.gated_from,
        "stopped": "early" if trainer.stopped_early else "complete",
        "score": best.score,
        "steps": trainer.step,
    }
    write_text(folder / "train.json", json.dumps(head | outcome | tail, indent=2) + "\n")
