"""Datasets of one's own are called what people call them, which may be what a module calls its methods."""

import copy

import pytest
import torch

OWN = {"dimension": 2, "channels": 1, "task": "multi-class", "classes": ["a", "b", "c"]}
OWN |= {"specialist": "B", "licence": "CC0", "path": "mine.npz", "kind": "npz"}
NAMES = ("train", "half", "items", "training", "shared", "random")


@pytest.mark.parametrize("routing", ["specialists", "shared", "per_dataset", "random", "gated", "modality"])
def test_any_name_that_a_dataset_may_have_is_that_of_its_head_and_its_specialist(make_model, routing):
    own = {
        name: OWN | {"title": name} | ({"dimension": 3, "specialist": "C"} if name == "half" else {}) for name in NAMES
    }
    overrides = {"data__own": own, "adapter__routing": routing, "train__warmup_rounds": 1}
    model = copy.deepcopy(make_model((*NAMES, "retinamnist"), seed=1, **overrides))
    assert {f"heads.{name}.weight" for name in NAMES} <= model.trainable_state().keys()
    assert not model.eval().training
    for name in NAMES:
        images = torch.randn((2, 1, 16, 16, 16) if name == "half" else (2, 3, 32, 32))
        assert model(images, name)[1].shape == (2, 3)
        assert {part.split(".")[1] for part, _ in model.active_parameters(name) if part.startswith("heads")} == {name}
    if routing == "per_dataset":
        assert set(model.specialists) == {*NAMES, "retinamnist"}
