"""The model that a training deploys, with all that it needs to segment a scan, as whoever tests or uses it gets it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.layout import SLICES, segmentation_config, segmentation_run
from mosaic_pipeline.reading import read_tree, reading
from mosaic_pipeline.segmentation.config import Config, load_config, parse_config
from mosaic_pipeline.segmentation.data.intensity import Intensity
from mosaic_pipeline.segmentation.data.slices import read_meta
from mosaic_pipeline.segmentation.datasets import LabelledSet
from mosaic_pipeline.segmentation.lineage import read_lineage
from mosaic_pipeline.segmentation.model.build import assemble
from mosaic_pipeline.segmentation.model.m4oe import M4oE
from mosaic_pipeline.training import model_file

NO_TRAINING = "`dvc repro seg_train` makes one"


@dataclass(frozen=True)
class Deployed:
    """A model in evaluation mode on its device, the datasets that it knows, and how each of their scans is prepared."""

    model: M4oE
    datasets: dict[str, LabelledSet]
    intensities: dict[str, Intensity]
    size: int
    precision: str


class _Trained(BaseModel):
    """What is looked up in train.json; the rest is the report's."""

    variant: str
    seed: int
    md5: dict[str, str]


def read_training(variant: str, seed: int) -> dict[str, Any]:
    """Return train.json of a finished training. Raises PipelineError if it is missing or another training's."""
    path = segmentation_run(variant, seed) / "train.json"
    training = read_tree(path, _Trained)
    with reading(path):
        if (training["variant"], training["seed"]) != (variant, seed):
            raise ValueError(f"of {training['variant']} with seed {training['seed']}")
    return training


def load_trained(variant: str, seed: int, device: torch.device) -> tuple[Deployed, dict[str, Any]]:
    """Return the model of one variant and seed, and train.json.

    Raises PipelineError if the model is of another variant or seed, of another configuration, weights or slices than
    are there now, not the one that train.json is about, or damaged.
    """
    training, path = read_training(variant, seed), segmentation_run(variant, seed) / model_file.MODEL
    config = load_config(segmentation_config(variant)).for_seed(seed)
    lineage = read_lineage(md5_file(segmentation_config(variant)), config)
    whose = {"variant": variant, "seed": seed, "md5": lineage.md5, "data": lineage.data}
    way_out = f"`dvc repro seg_train@{variant}-{seed}` makes it"
    model_file.check_trained(path, whose, training["md5"].get("model"), way_out)
    intensities = {name: Intensity(**read_meta(SLICES / name).intensity) for name in config.datasets}
    return _deploy(path, config, intensities, device, way_out), training


def load_model(path: Path, device: torch.device) -> Deployed:
    """Return the model of a file of the training stage, wherever it lies: the file says all that it takes.

    Raises PipelineError, in one line, if it is none.
    """
    whose = model_file.read_identity(path, NO_TRAINING)
    with reading(path, NO_TRAINING):
        if "config" not in whose:
            raise ValueError("not a model of segmentation")
        config = parse_config(whose["config"])
        intensities = _read_intensities(whose["intensity"], config)
    return _deploy(path, config, intensities, device, NO_TRAINING)


def _read_intensities(forms: Mapping[str, Mapping[str, Any]], config: Config) -> dict[str, Intensity]:
    """Return how the scans of each dataset are scaled. Raises some exception if that is not said."""
    intensities = {}
    for name in config.datasets:
        ((kind, (low, high)),) = forms[name].items()
        if not low < high:
            raise ValueError(f"scans of {name} scaled from {low} to {high}")
        intensities[name] = Intensity(**{kind: (float(low), float(high))})
    return intensities


def _deploy(
    path: Path, config: Config, intensities: dict[str, Intensity], device: torch.device, way_out: str
) -> Deployed:
    model = assemble(config).to(device)
    model_file.load_model(path, model, "model", way_out)
    # A gate that no round trained mixes nothing.
    model.enter("gate" if config.train.gate_rounds else "experts")
    return Deployed(model.eval(), config.datasets, intensities, config.model.size, config.precision)
