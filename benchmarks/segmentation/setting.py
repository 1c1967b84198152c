"""The M4oE that is measured: Swin-T's sizes, three experts with gates, heads of 14, 3 and 16 classes (58.49M).

The recipe is that of the method's public code as far as it costs anything: SGD, cross-entropy of all pixels alike, and
the squared Dice of all classes.
"""

from typing import Literal

from mosaic_pipeline.segmentation.config import Architecture, Augment, Config, Experts, Recipe
from mosaic_pipeline.segmentation.datasets import NAMED

Phase = Literal["experts", "gate"]
Precision = Literal["fp32", "bf16"]

SETS = ("flare22", "atlas23", "amos22_mr")
SWIN_T = Architecture(
    dim=96,
    depths=(2, 2, 2, 2),
    heads=(3, 6, 12, 24),
    window=7,
    patch=4,
    size=224,
    channels=3,
    drop_path=0.0,
    weights=None,
)
# Pixels a side of the slices as scanners make them.
SCANNED = 512


def full_config(
    phase: Phase, precision: Precision = "fp32", *, model: Architecture = SWIN_T, batch_size: int = 2
) -> Config:
    """Return the configuration of one phase: `experts` by hard routing, or `gate`, in which all of them are mixed."""
    experts = Experts(
        routing="modality",
        of={name: NAMED[name].modality for name in SETS},
        names=tuple(NAMED[name].modality for name in SETS),
        where="both",
        mix="gated",
        gate="tokens",
        gate_start="uniform",
        gate_trains="all",
        head="dataset",
        width=4,
    )
    recipe = Recipe(
        pretrain_rounds=0,
        mask_ratio=None,
        expert_rounds=int(phase == "experts"),
        gate_rounds=int(phase == "gate"),
        batch_size=batch_size,
        order="registry",
        optimiser="sgd",
        lr=0.01,
        schedule="poly",
        ce=0.4,
        dice=0.7,
        dice_form="released",
        class_weight=0.0,
        augment=Augment(rotate=15.0, scale=0.1, intensity=0.1, flip=False),
        grad_clip=1.0,
        weight_decay=1e-4,
        early_stopping_patience=1,
    )
    return Config(
        datasets={name: NAMED[name] for name in SETS}, model=model, experts=experts, train=recipe, precision=precision
    )
