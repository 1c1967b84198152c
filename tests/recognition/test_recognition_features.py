"""What the backbone alone sees: the very images of an evaluation, and of volumes the middle planes."""

import numpy as np
import pytest
import torch

from mosaic_pipeline.data.augment import STATISTICS, normalise, to_float
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.recognition.features import backbone_features, dimension_of, middle_planes
from mosaic_pipeline.recognition.moments import Moments, groups_of
from mosaic_pipeline.recognition.recogniser import Recogniser, Sight, fit_candidates

SEEN = {"size": 32, "statistics": STATISTICS["imagenet"], "precision": "fp32"}
COLOUR, GREY, VOLUME = (28, 28, 3), (28, 28), (28, 28, 28)


def stored(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("shape", [COLOUR, GREY])
def test_features_of_images_are_those_of_a_model_without_specialists(make_model, make_backbone, shape):
    name = "retinamnist" if shape == COLOUR else "breastmnist"
    model = make_model([name], adapter__kind="none", model__normalisation="imagenet").eval()
    images = stored(5, *shape)
    wanted, _ = model(normalise(to_float(images, 2, 32), model.statistics), name)
    found = backbone_features(make_backbone(), images, **SEEN)
    assert found.dtype == torch.float32
    assert torch.allclose(found, wanted, atol=1e-5)


def test_features_of_a_volume_are_the_mean_of_its_three_middle_planes(make_backbone):
    volumes = stored(4, *VOLUME)
    backbone = make_backbone()
    found = backbone_features(backbone, volumes, **SEEN)
    planes = [
        backbone_features(backbone, each, **SEEN) for each in (volumes[:, 14], volumes[:, :, 14], volumes[..., 14])
    ]
    assert torch.allclose(found, sum(planes) / 3, atol=1e-5)
    turned = backbone_features(backbone, volumes.transpose(1, 2), **SEEN)
    assert not torch.allclose(found, turned, atol=1e-4)  # a plane is turned with it


def test_planes_of_one_volume_stand_together():
    planes = middle_planes(stored(2, *VOLUME))
    assert planes.shape == (6, 28, 28)
    assert torch.equal(planes[3], stored(2, *VOLUME)[1, 14])


def test_the_dimension_is_that_of_the_shape():
    assert [dimension_of((5, *shape)) for shape in (COLOUR, GREY, VOLUME, (3, 3, 3), (3, 3))] == [2, 2, 3, 2, 2]


def test_only_datasets_of_the_images_dimension_are_proposed(make_backbone):
    backbone, candidates = make_backbone(), {}
    for dimension, shape, names in ((2, GREY, "ab"), (3, VOLUME, "v")):
        dataset = MEDMNIST["breastmnist" if dimension == 2 else "nodulemnist3d"]
        moments, validation = {}, {}
        for seed, name in enumerate(names):
            features = backbone_features(backbone, stored(12, *shape, seed=seed), **SEEN).numpy()
            moments[name] = Moments.empty(dataset, backbone.embed_dim)
            moments[name].add(features, groups_of(dataset, np.arange(12)[:, None] % 2))
            validation[name] = features
        candidates[dimension] = fit_candidates(moments, validation)
    recogniser = Recogniser(candidates, Sight(32, STATISTICS["imagenet"], "fp32"))
    (image,), (volume,) = (recogniser.propose(backbone, stored(1, *shape)) for shape in (GREY, VOLUME))
    assert (image.dataset, volume.dataset) == ("a", "v")
    assert recogniser.propose(backbone, torch.zeros(1, *COLOUR, dtype=torch.uint8))[0].nearest in "ab"
    flat = Recogniser({2: candidates[2]}, recogniser.sight)
    with pytest.raises(PipelineError, match="no dataset of volumes was trained"):
        flat.propose(backbone, stored(1, *VOLUME))
