import pytest

from pipeline.datasets import DATASETS
from pipeline.model.routing import Routing, build_routing
from pipeline.params import Adapter

# As the paper lists them, independent of the registry.
A = {"pathmnist", "bloodmnist", "tissuemnist", "dermamnist", "retinamnist"}
B = {"chestmnist", "pneumoniamnist", "breastmnist", "octmnist", "organamnist", "organcmnist", "organsmnist"}
C = {f"{name}mnist3d" for name in ("organ", "nodule", "adrenal", "fracture", "vessel", "synapse")}


def adapter(routing):
    widths = {"bottleneck_a": 1, "bottleneck_b": 2, "bottleneck_c": 3, "bottleneck_shared": 4}
    return Adapter(routing=routing, scale=0.1, **widths)


def test_specialists_serve_the_groups_of_the_paper():
    routing = build_routing(adapter("specialists"), tuple(DATASETS))
    for specialist, group in (("A", A), ("B", B), ("C", C)):
        assert {name for name, served in routing.datasets.items() if served == specialist} == group
    assert routing.bottlenecks == {"A": 1, "B": 2, "C": 3}


def test_shared_routing_sends_every_dataset_to_one_specialist():
    routing = build_routing(adapter("shared"), tuple(DATASETS))
    assert routing.bottlenecks == {"shared": 4}
    assert set(routing.datasets.values()) == {"shared"}


def test_no_routing_means_no_specialist_for_any_dataset():
    routing = build_routing(adapter("none"), tuple(DATASETS))
    assert routing.bottlenecks == {}
    assert routing.datasets == dict.fromkeys(DATASETS)


def test_the_order_of_the_datasets_is_the_order_of_a_round():
    names = ("vesselmnist3d", "pathmnist", "breastmnist")
    for kind in ("specialists", "shared", "none"):
        assert tuple(build_routing(adapter(kind), names).datasets) == names


def test_a_specialist_without_datasets_does_not_exist():
    assert build_routing(adapter("specialists"), ("vesselmnist3d", "pathmnist")).bottlenecks == {"A": 1, "C": 3}


@pytest.mark.parametrize("bottlenecks", [{}, {"A": 1, "B": 2}])
def test_bottlenecks_and_routes_must_name_the_same_specialists(bottlenecks):
    with pytest.raises(ValueError, match="routed to"):
        Routing(bottlenecks=bottlenecks, datasets={"pathmnist": "A", "breastmnist": None})
