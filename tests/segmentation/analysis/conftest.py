"""Small models of random values, and validation slices to look at."""

import numpy as np
import pytest
import torch

from mosaic_pipeline.segmentation.analysis.subject import Chosen, Subject
from mosaic_pipeline.segmentation.data.slices import open_slices
from mosaic_pipeline.segmentation.model.build import build_m4oe
from tests.segmentation.nets import make_config
from tests.segmentation.training.conftest import write_slices

NAMES = ("flare22", "atlas23", "amos22_mr")


@pytest.fixture(scope="session")
def slices(tmp_path_factory):
    """The folder of a cache with six validation slices of each set."""
    folder = tmp_path_factory.mktemp("slices")
    for number, (name, dataset) in enumerate(make_config(NAMES).datasets.items()):
        write_slices(folder / name, dataset, seed=number)
    return folder


@pytest.fixture
def make_subject(slices):
    """Build a subject; arguments are those of `make_config`."""

    def make(names=NAMES, *, batch_size=4, limit=6, noise=0.2, **options):
        config = make_config(names, **options)
        model = build_m4oe(config, 3)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += noise * torch.randn(parameter.shape, generator=generator)
        model.gated = config.experts.mix == "gated"
        (opened,) = open_slices(slices, config.datasets, config.model.size, ("val",), torch.device("cpu"))
        chosen = {name: Chosen.choose(split, limit) for name, split in opened.items()}
        voxels = {name: split.class_voxels for name, split in opened.items()}
        return Subject(model.eval(), chosen, voxels, batch_size)

    return make


def all_of(chosen):
    """The images and masks of chosen slices, float32 [N,S,S] and int64 [N,S,S]."""
    (batch,) = chosen.batches([slice(0, len(chosen))])
    return batch.images.float(), batch.labels.numpy().astype(np.int64)
