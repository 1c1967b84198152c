"""The files of the stage `seg_train`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.segmentation.model.cost import slice_costs
from mosaic_pipeline.training.model_file import MODEL, save_model

if TYPE_CHECKING:
    from mosaic_pipeline.lineage import Lineage
    from mosaic_pipeline.segmentation.training.trainer import SegmentationTrainer

FILES = ("model.safetensors", "history.csv", "train.json")


def write_outputs(
    folder: Path,
    trainer: "SegmentationTrainer",
    variant: str,
    seed: int,
    lineage: "Lineage",
) -> None:
    """Write the model, the history and, last, train.json, which has the model's md5 beside those of its inputs.

    The model says whose it is, and carries its configuration and how scans are scaled for it, so that it can be used
    wherever it is copied to. train.json has the configuration too: the report tells what was trained from there.
    """
    head = {"variant": variant, "seed": seed}
    config = trainer.config.model_dump(mode="json", exclude_none=True)
    intensity = {name: split.meta.intensity for name, split in trainer.train.items()}
    whose = head | {"md5": lineage.md5, "data": lineage.data, "config": config, "intensity": intensity}
    save_model(folder / MODEL, whose, **trainer.models)
    write_text(folder / "history.csv", pd.DataFrame(trainer.history).to_csv(index=False, lineterminator="\n"))
    outcome = {
        "best_round": trainer.best.round,
        "rounds": trainer.round,
        "phases": dict(zip(trainer.phase_names, trainer.phases_from, strict=False)),
        "stopped": "early" if trainer.stopped_early else "complete",
        "score": trainer.best.score,
        "steps": trainer.step,
        "config": config,
        "parameters": trainer.student.parameter_counts() | slice_costs(trainer.config),
        "precision": trainer.config.precision,
        "weights": lineage.weights,
        "md5": lineage.md5 | {"model": md5_file(folder / MODEL)},
    }
    write_text(folder / "train.json", json.dumps(head | outcome, indent=2) + "\n")
