"""A folder in which segmentation has come to its trainings, on tiny phantoms, with models as if trained."""

import json
import sys
from pathlib import Path

import torch
import yaml

from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.layout import SLICES, segmentation_config, segmentation_run
from mosaic_pipeline.segmentation.config import load_config
from mosaic_pipeline.segmentation.data.slices import read_meta
from mosaic_pipeline.segmentation.lineage import read_lineage
from mosaic_pipeline.segmentation.model.build import build_m4oe
from mosaic_pipeline.training.model_file import MODEL, save_model
from stages.segmentation import cache, configure, index, weights

ROOT = Path(__file__).parents[2]
SETS = ("flare22", "atlas23")
VARIANTS = ("m4oe", "hard", "dense")
SEED = 42


def run(stage, *arguments):
    """Run a stage in this process, where it is, as its command would."""
    given, sys.argv = sys.argv, [stage.__name__, *map(str, arguments)]
    try:
        stage.main()
    finally:
        sys.argv = given


def write_params(**changes):
    """Write small parameters; a double underscore stands for a dot below `segmentation`."""
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())
    small = {
        "data__datasets": list(SETS),
        "phantom": {"train": 1, "val": 1, "test": 3, "size": 16},
        "model__dim": 8,
        "model__depths": [1, 2],
        "model__heads": [1, 2],
        "model__window": 2,
        "model__size": 16,
        "train__expert_rounds": 1,
        "train__gate_rounds": 1,
        "ablation__analyse_cases": 6,
    }
    for key, value in (small | changes).items():
        *groups, leaf = key.split("__")
        section = tree["segmentation"]
        for group in groups:
            section = section[group]
        section[leaf] = value
    Path("params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))


def prepare():
    """Do here what comes before training."""
    write_params()
    run(weights)
    for name in SETS:
        run(index, name)
        run(cache, name)
    for variant in VARIANTS:
        run(configure, variant)


def write_model(variant, seed=SEED, **changes):
    """Write a model of random values, and train.json, as if it were trained on what is here."""
    config = load_config(segmentation_config(variant)).for_seed(seed)
    state = build_m4oe(config, seed).trainable_state()
    generator = torch.Generator().manual_seed(seed)
    state = {name: tensor + 0.3 * torch.randn(tensor.shape, generator=generator) for name, tensor in state.items()}
    lineage = read_lineage(md5_file(segmentation_config(variant)), config)
    whose = {
        "variant": variant,
        "seed": seed,
        "md5": lineage.md5,
        "data": lineage.data,
        "config": config.model_dump(mode="json", exclude_none=True),
        "intensity": {name: read_meta(SLICES / name).intensity for name in config.datasets},
    }
    folder = segmentation_run(variant, seed)
    save_model(folder / MODEL, whose | changes, model=state)
    training = {"variant": variant, "seed": seed, "md5": lineage.md5 | {"model": md5_file(folder / MODEL)}}
    (folder / "train.json").write_text(json.dumps(training))
    return config
