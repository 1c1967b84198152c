"""Configurations of small models and of those whose size is published, for the tests of models and training."""

from typing import Any

from mosaic_pipeline.segmentation.config import Config
from mosaic_pipeline.segmentation.datasets import LabelledSet

MODALITIES = {"flare22": ("ct", 13), "atlas23": ("ce_mri", 2), "amos22_mr": ("mri", 15), "word": ("ct", 15)}
FULL = {"dim": 96, "depths": (2, 2, 2, 2), "heads": (3, 6, 12, 24), "window": 7, "size": 224, "channels": 3}
TINY = {"dim": 8, "depths": (2, 2), "heads": (1, 2), "window": 2, "size": 16, "channels": 1}


def labelled_set(name: str, organs: int | tuple[str, ...], modality: str = "ct") -> LabelledSet:
    """A set of so many organs, `organ 1` and on, or of those by name."""
    names = tuple(f"organ {i}" for i in range(1, organs + 1)) if isinstance(organs, int) else organs
    return LabelledSet(name, name, modality, dict(enumerate(names, start=1)))


def make_config(
    datasets: tuple[str, ...] | dict[str, LabelledSet] = ("flare22", "atlas23", "amos22_mr"),
    *,
    experts: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    **model: Any,
) -> Config:
    """Resolve as the variants do: an expert for each dataset, hard, unless told otherwise."""
    if not isinstance(datasets, dict):
        datasets = {name: labelled_set(name, MODALITIES[name][1], MODALITIES[name][0]) for name in datasets}
    own = {"routing": "dataset", "where": "both", "mix": "hard", "head": "dataset", "width": 4} | (experts or {})
    of = {name: "shared" if own["routing"] == "shared" else name for name in datasets}
    gated = own["mix"] == "gated"
    gate = {"gate": "tokens", "gate_start": "uniform", "gate_trains": "all"}
    names = tuple(dict.fromkeys(own.get("of", of).values()))
    own = {"of": of, "names": names} | (gate if gated else dict.fromkeys(gate)) | own
    recipe = {
        "pretrain_rounds": 0,
        "mask_ratio": None,
        "expert_rounds": 1,
        "gate_rounds": int(gated),
        "batch_size": 4,
        "order": "interleaved",
        "optimiser": "adamw",
        "lr": 4e-3,
        "schedule": "cosine",
        "ce": 0.4,
        "dice": 0.6,
        "dice_form": "foreground",
        "class_weight": 0.5,
        "augment": {"rotate": 15, "scale": 0.1, "intensity": 0.1, "flip": False},
        "grad_clip": 1.0,
        "weight_decay": 0.01,
        "early_stopping_patience": 5,
    }
    shape = TINY | {"patch": 4, "drop_path": 0.0, "weights": None} | model
    return Config.model_validate(
        {"datasets": datasets, "model": shape, "experts": own, "train": recipe | (train or {}), "precision": "fp32"}
    )
