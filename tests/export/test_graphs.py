"""Which datasets share a graph, and that each is answered for by its own specialist, tokenizer and head."""

import pytest
import torch

from mosaic_pipeline.evaluation.predict import score
from mosaic_pipeline.export.graphs import Graph, group_datasets, plain_copy
from mosaic_pipeline.export.to_onnx import random_images

NAMES = ("retinamnist", "tissuemnist", "breastmnist", "nodulemnist3d", "vesselmnist3d")
SLICES = {"tokenizer_3d__kind": "slices", "tokenizer_3d__slices": 4}
RETINA, TISSUE, BREAST, NODULE, VESSEL = NAMES


def grouped(model, **sizes: int) -> dict[str, tuple[str, ...]]:
    groups = group_datasets(model, dict.fromkeys(NAMES, 28) | sizes)
    return {group.name: tuple(dataset.name for dataset in group.datasets) for group in groups}


EXPECTED = {
    "specialists": {"A-images": (RETINA, TISSUE), "B-images": (BREAST,), "C-volumes": (NODULE, VESSEL)},
    "modality": {"2D-images": (RETINA, TISSUE, BREAST), "3D-volumes": (NODULE, VESSEL)},
    "shared": {"shared-images": (RETINA, TISSUE, BREAST), "shared-volumes": (NODULE, VESSEL)},
    "per_dataset": {f"{name}-{'volumes' if '3d' in name else 'images'}": (name,) for name in NAMES},
    "gated": {"mixture-images": (RETINA, TISSUE, BREAST), "mixture-volumes": (NODULE, VESSEL)},
}


@pytest.mark.parametrize("tokenizer", [{}, SLICES], ids=["tokens", "slices"])
@pytest.mark.parametrize("kind", ["bottleneck", "lora", "prompt"])
@pytest.mark.parametrize("routing", EXPECTED)
def test_each_specialist_has_a_graph_for_each_kind_of_input_with_all_its_datasets(make_model, routing, kind, tokenizer):
    model = make_model(NAMES, adapter__routing=routing, adapter__kind=kind, **tokenizer)
    assert grouped(model) == EXPECTED[routing]


def test_groups_that_a_seed_draws_are_those_of_its_model(make_model):
    model = make_model(NAMES, adapter__routing="random")
    for name, members in grouped(model).items():
        assert {model.routing.datasets[member] for member in members} == {name.partition("-")[0]}


def test_gates_that_begin_at_the_routing_weigh_otherwise_for_each_specialist(make_model):
    model = make_model(NAMES, adapter__routing="gated", adapter__gate_start="routing")
    assert grouped(model) == EXPECTED["specialists"]


def test_without_specialists_all_images_share_a_graph_and_volumes_one_for_each_tokenizer(make_model):
    images = {"none-images": (RETINA, TISSUE, BREAST)}
    assert grouped(make_model(NAMES, variant="linear_probe")) == images | {"none-volumes": (NODULE, VESSEL)}
    apart = make_model(NAMES, variant="linear_probe", adapter__routing="per_dataset")
    assert grouped(apart) == images | {f"none-volumes-{name}": (name,) for name in (NODULE, VESSEL)}


def test_images_that_are_stored_in_another_size_have_a_graph_of_their_own(make_model):
    found = grouped(make_model(NAMES), tissuemnist=64)
    assert found.keys() == {"A-images-retinamnist", "A-images-tissuemnist", "B-images", "C-volumes"}


def test_images_are_taken_in_colour_where_any_dataset_has_it_and_else_in_grey(make_model):
    a, b, c = group_datasets(make_model(NAMES), dict.fromkeys(NAMES, 28))
    assert (a.image_shape, b.image_shape, c.image_shape) == ((28, 28, 3), (28, 28), (28, 28, 28))


@pytest.mark.parametrize("tokenizer", [{}, SLICES], ids=["tokens", "slices"])
@pytest.mark.parametrize("kind", ["bottleneck", "lora", "prompt", "none"])
@pytest.mark.parametrize("routing", [*EXPECTED, "random"])
def test_every_dataset_of_every_graph_is_answered_as_in_evaluation(make_model, make_config, routing, kind, tokenizer):
    settings = {"adapter__routing": routing, "adapter__kind": kind, "adapter__gate_start": "routing"} | tokenizer
    model, config = make_model(NAMES, **settings), make_config(NAMES, **settings).for_seed(0)
    for name, parameter in model.named_parameters():
        if model.is_trainable(name):
            torch.nn.init.normal_(parameter, std=0.3)
    answered = []
    for group in group_datasets(model, dict.fromkeys(NAMES, 28)):
        images = torch.from_numpy(random_images(group, 3))
        graph = Graph(plain_copy(model), group, config.model.size(group.datasets[0].dimension))
        for index, dataset in enumerate(group.datasets):
            grey = images.dim() == 4 and dataset.dimension == 2 and dataset.channels == 1
            stored = images[..., :1].expand_as(images) if grey else images
            expected = score(model, stored[..., 0] if grey else stored, dataset, config)
            torch.testing.assert_close(graph(stored)[index], expected, rtol=0, atol=1e-5)
            answered.append(dataset.name)
    assert sorted(answered) == sorted(NAMES)
