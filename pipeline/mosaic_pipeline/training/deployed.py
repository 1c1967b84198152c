"""The model that a training deploys, as whoever tests or analyses it gets it."""

import torch

from mosaic_pipeline.config import Config
from mosaic_pipeline.layout import BACKBONE, run_folder
from mosaic_pipeline.model.mosaic import Mosaic, build_mosaic
from mosaic_pipeline.training.model_file import MODEL, load_model
from mosaic_pipeline.weights.load import load_backbone


def load_deployed(config: Config, variant: str, seed: int, which: str, device: torch.device) -> Mosaic:
    """Return the model of one variant and seed on the device: the student, the teacher, or what is composed of both.

    Raises PipelineError if backbone or model file is missing, damaged or of another configuration.
    """
    model = build_mosaic(config, load_backbone(BACKBONE, config.model), seed).to(device)
    load_model(run_folder(variant, seed) / MODEL, model, which)
    return model
