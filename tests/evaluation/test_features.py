"""A further dataset's way through a trained model: the very tensors that trained datasets use, and nothing changed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mosaic_pipeline.data.augment import normalise, to_float
from mosaic_pipeline.data.batches import Split
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation.features import Way, along, features, own_specialist, ways
from mosaic_pipeline.model.mosaic import build_mosaic

CPU = torch.device("cpu")
NAMES = ("retinamnist", "breastmnist", "nodulemnist3d", "adrenalmnist3d")
IMAGES = replace(MEDMNIST["pneumoniamnist"], name="half")  # as a method of torch's modules
VOLUMES = replace(MEDMNIST["vesselmnist3d"], name="phantoms3d")


@pytest.fixture
def split(tmp_path, write_cached):
    """Make the test split of images like those of a trained dataset."""

    def make(like: str) -> Split:
        write_cached(tmp_path / like, like, {"test": 6})
        return Split(tmp_path / like, "test", CPU)

    return make


@pytest.fixture
def trained(make_model, make_config):
    """Make a model whose adapters do something, and its configuration; keywords as for `make_config`."""

    def make(names=NAMES, **overrides):
        model = make_model(names, **overrides)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.startswith(("specialists.", "gates.")):
                    parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        return model, make_config(names, **overrides)

    return make


def of_trained(model, config, split: Split, name: str) -> np.ndarray:
    """Class tokens of a split as those of a trained dataset."""
    dataset = config.datasets[name]
    images = to_float(torch.from_numpy(np.array(split.images)), dataset.dimension, config.model.size(dataset.dimension))
    with torch.inference_mode():
        return model.eval()(normalise(images, model.statistics), name)[0].numpy()


@pytest.mark.parametrize("kind", ["bottleneck", "lora", "prompt"])
def test_a_specialist_gives_a_further_dataset_what_it_gives_its_own(trained, split, kind):
    model, config = trained(adapter__kind=kind)
    images, volumes = split("breastmnist"), split("nodulemnist3d")
    shared = model.routing.tokenizers["nodulemnist3d"]
    for opened, dataset, like, way in (
        (images, IMAGES, "breastmnist", Way("B")),
        (volumes, VOLUMES, "nodulemnist3d", Way("C", shared)),
    ):
        found = features(along(model, dataset, way), opened, dataset, config=config, batch_size=4)
        assert found.dtype == np.float32
        assert found == pytest.approx(of_trained(model, config, opened, like), abs=1e-5)
        other = features(
            along(model, dataset, replace(way, specialist="A")), opened, dataset, config=config, batch_size=6
        )
        assert np.abs(found - other).max() > 1e-3


def test_the_backbone_alone_is_the_plain_vit(trained, split, make_backbone):
    model, config = trained()
    opened = split("breastmnist")
    images = normalise(to_float(torch.from_numpy(np.array(opened.images)), 2, 32), model.statistics)
    with torch.inference_mode():
        plain = make_backbone()(images).numpy()
    assert features(along(model, IMAGES, Way(None)), opened, IMAGES, config=config, batch_size=4) == pytest.approx(
        plain, abs=1e-5
    )


@pytest.mark.parametrize(
    ("normalisation", "statistics"),
    [
        ("imagenet", ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ("auto", ((0.7, 0.5, 0.6), (0.2, 0.3, 0.25))),  # what the weights say
    ],
)
def test_images_are_normalised_as_those_that_the_model_was_trained_on(
    split, make_backbone, make_config, normalisation, statistics
):
    backbone, config = make_backbone(), make_config(NAMES, model__normalisation=normalisation)
    if normalisation == "auto":
        backbone.statistics = statistics
    model, opened = build_mosaic(config, backbone, 0), split("breastmnist")
    images = to_float(torch.from_numpy(np.array(opened.images)), 2, 32)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in statistics)
    with torch.inference_mode():
        expected = make_backbone()((images - mean) / std).numpy()
    found = features(along(model, IMAGES, Way(None)), opened, IMAGES, config=config, batch_size=4)
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_gate_mixes_for_a_further_dataset_as_for_its_own_and_single_specialists_do_not_pass_it(trained, split):
    model, config = trained(variant="gated_from_routing")
    assert model.gated
    opened = split("breastmnist")
    mixed, alone = (
        features(along(model, IMAGES, Way("B", gate=gate)), opened, IMAGES, config=config, batch_size=4)
        for gate in (True, False)
    )
    assert mixed == pytest.approx(of_trained(model, config, opened, "breastmnist"), abs=1e-5)
    assert np.abs(mixed - alone).max() > 1e-3
    model.gated = False
    assert alone == pytest.approx(of_trained(model, config, opened, "breastmnist"), abs=1e-5)


def test_layer_norms_after_the_embedding_are_those_of_the_dimension(trained, split):
    model, config = trained(model__embedding_norm=True)
    opened = split("nodulemnist3d")
    way = Way("C", model.routing.tokenizers["nodulemnist3d"])
    assert features(along(model, VOLUMES, way), opened, VOLUMES, config=config, batch_size=4) == pytest.approx(
        of_trained(model, config, opened, "nodulemnist3d"), abs=1e-5
    )


def test_nothing_of_the_model_changes(trained, split):
    model, config = trained()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    routing, names = model.routing, list(model.heads)
    features(along(model, IMAGES, Way("A")), split("breastmnist"), IMAGES, config=config, batch_size=4)
    assert model.routing == routing
    assert list(model.heads) == names
    assert "half" not in model.datasets
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("overrides", "dataset", "found"),
    [
        ({}, IMAGES, [Way(None), Way("A"), Way("B"), Way("C")]),
        ({}, VOLUMES, [Way(name, "shared") for name in (None, "A", "B", "C")]),
        ({"adapter__routing": "shared"}, IMAGES, [Way(None), Way("shared")]),
        ({"adapter__routing": "modality"}, VOLUMES, [Way(name, "shared") for name in (None, "2D", "3D")]),
        ({"adapter__kind": "none"}, VOLUMES, [Way(None, "shared")]),
        ({"adapter__routing": "per_dataset"}, IMAGES, [Way(None), *map(Way, sorted(NAMES))]),
        (
            {"adapter__routing": "per_dataset"},
            VOLUMES,
            [
                *(Way(None, name) for name in ("nodulemnist3d", "adrenalmnist3d")),
                *(Way(name, name) for name in ("adrenalmnist3d", "nodulemnist3d")),
            ],
        ),
        ({"adapter__routing": "gated"}, IMAGES, [*map(Way, (None, "A", "B", "C")), Way("B", gate=True)]),
    ],
)
def test_ways_are_the_backbone_and_each_specialist_that_can_be_reached(make_config, overrides, dataset, found):
    config = make_config(NAMES, **overrides)
    own = own_specialist(config.routing, dataset, "B")
    assert ways(config.routing, config.datasets, dataset, own) == found


@pytest.mark.parametrize(("names", "dataset"), [(NAMES[:2], VOLUMES), (NAMES[2:], IMAGES)])
def test_there_is_no_way_for_a_dimension_that_was_not_trained(make_config, names, dataset):
    config = make_config(names)
    assert ways(config.routing, config.datasets, dataset, None) == []


@pytest.mark.parametrize(
    ("overrides", "group", "own"),
    [
        ({}, "B", "B"),
        ({}, "D", None),
        ({"adapter__routing": "gated"}, "A", "A"),
        ({"adapter__routing": "shared"}, "B", "shared"),
        ({"adapter__routing": "modality"}, "C", "2D"),
        ({"adapter__routing": "per_dataset"}, "B", None),
        ({"adapter__routing": "random"}, "B", None),
        ({"adapter__kind": "none"}, "B", None),
    ],
)
def test_the_own_specialist_is_the_one_that_the_rule_of_the_routing_gives(make_config, overrides, group, own):
    assert own_specialist(make_config(NAMES, **overrides).routing, IMAGES, group) == own
