"""The files of the train stage."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

import pandas as pd

from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.training.model_file import MODEL, save_model
from mosaic_pipeline.training.trainer import CyclicTrainer

FILES = ("model.safetensors", "history.csv", "conflicts.json", "train.json")


def write_outputs(
    folder: Path,
    trainer: CyclicTrainer,
    head: dict[str, Any],
    tail: dict[str, Any],
    data: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the model, the history, the conflicts and, last, train.json: `head`, what the training came to, `tail`.

    The model says that it is of `head`, of the md5s in `tail`, of `data`, the digest of each dataset, and of which form
    each is; train.json has the model's own md5 beside those. What is not made from anything, as in a test, has no md5s.
    conflicts.json is null but for its head where gradients were not compared. With a round for each dataset there is no
    `best_round`, and the score is the mean of the datasets' own.
    """
    best, own = trainer.best, trainer.own_rounds.outcome() if trainer.own_rounds else {}
    md5 = tail.get("md5", {})
    forms = {name: dataset.form() for name, dataset in trainer.config.datasets.items()}
    save_model(folder / MODEL, head | {"md5": md5, "data": dict(data), "forms": forms}, **trainer.models)
    write_text(folder / "history.csv", pd.DataFrame(trainer.history).to_csv(index=False, lineterminator="\n"))
    conflicts = None
    if trainer.conflicts:
        conflicts = {
            "specialist": next(iter(trainer.student.specialists)),
            "datasets": list(trainer.config.datasets),
            "cases": trainer.config.train.conflict_cases,
            "rounds": trainer.conflicts,
        }
    write_text(folder / "conflicts.json", json.dumps(head | {"conflicts": conflicts}, allow_nan=False) + "\n")
    outcome: dict[str, Any] = {
        "deployed": trainer.deployed,
        "best_round": None if own else best.round,
        "rounds": trainer.round,
        "gated_from": trainer.gated_from,
        "stopped": "early" if trainer.stopped_early else "complete",
        "score": fmean(each["score"] for each in own.values()) if own else best.score,
        "steps": trainer.step,
    }
    if own:
        outcome["best_rounds"] = own
    tail = tail | {"md5": md5 | {"model": md5_file(folder / MODEL)}}
    write_text(folder / "train.json", json.dumps(head | outcome | tail, indent=2) + "\n")
