"""A trained model, with all that it needs to segment a scan of one of its datasets."""

from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.errors import PipelineError
from pipeline.segmentation.data.intensity import Intensity
from pipeline.segmentation.datasets import LabelledSet
from pipeline.segmentation.evaluation.inference import Slices


@dataclass(frozen=True)
class Deployed:
    """A model in evaluation mode on its device, the datasets that it knows, and how each of their scans is prepared."""

    model: Slices
    datasets: dict[str, LabelledSet]
    intensities: dict[str, Intensity]
    size: int
    precision: str


def load_model(path: Path, device: torch.device) -> Deployed:
    """Return the model of a file of the train stage. Raises PipelineError, in one line, if it is none."""
    raise PipelineError(f"{path}: not a model file of the segmentation; `dvc repro seg_train` makes one")
