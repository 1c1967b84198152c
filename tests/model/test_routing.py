import pytest

from mosaic_pipeline.datasets import MEDMNIST, MOSAIC_ROUTING
from mosaic_pipeline.model.routing import Routing, build_routing
from mosaic_pipeline.params import Adapter

# As the paper lists them, independent of the registry.
A = {"pathmnist", "bloodmnist", "tissuemnist", "dermamnist", "retinamnist"}
B = {"chestmnist", "pneumoniamnist", "breastmnist", "octmnist", "organamnist", "organcmnist", "organsmnist"}
C = {f"{name}mnist3d" for name in ("organ", "nodule", "adrenal", "fracture", "vessel", "synapse")}
ALL = tuple(MEDMNIST)


@pytest.fixture
def build(params):
    """Routing of the committed parameters with small sizes that tell their origin, and with other values."""
    sizes = ("a", "b", "c", "2d", "3d", "shared")
    small = {f"bottleneck_{name}": index for index, name in enumerate(sizes, start=1)}

    def make(datasets=ALL, **changes):
        adapter = Adapter.model_validate(params.adapter.model_dump() | small | changes)
        groups = {name: group for name, group in MOSAIC_ROUTING.items() if name in datasets}
        return build_routing(adapter, {name: MEDMNIST[name] for name in datasets}, groups)

    return make


def groups(routing) -> dict[str, set[str]]:
    return {name: {key for key, value in routing.datasets.items() if value == name} for name in routing.sizes}


def test_specialists_serve_the_groups_of_the_paper(build):
    routing = build()
    assert groups(routing) == {"A": A, "B": B, "C": C}
    assert routing.sizes == {"A": 1, "B": 2, "C": 3}


def test_shared_routing_sends_every_dataset_to_one_specialist(build):
    routing = build(routing="shared")
    assert routing.sizes == {"shared": 6}
    assert set(routing.datasets.values()) == {"shared"}


def test_modality_keeps_images_and_volumes_apart(build):
    routing = build(routing="modality")
    assert groups(routing) == {"2D": A | B, "3D": C}
    assert routing.sizes == {"2D": 4, "3D": 5}


def test_per_dataset_shares_nothing_and_is_as_wide_as_the_group(build):
    routing = build(routing="per_dataset")
    assert routing.datasets == {name: name for name in ALL}
    assert routing.tokenizers == {name: name for name in C}
    assert {name: routing.sizes[name] for name in ("pathmnist", "octmnist", "organmnist3d")} == {
        "pathmnist": 1,
        "octmnist": 2,
        "organmnist3d": 3,
    }


def test_datasets_apart_can_all_have_one_width(build):
    assert build(routing="per_dataset", bottleneck_per_dataset=19).sizes == dict.fromkeys(sorted(ALL), 19)
    assert build(bottleneck_per_dataset=19) == build()
    assert build(routing="per_dataset", kind="lora", bottleneck_per_dataset=19).sizes["pathmnist"] == 8


@pytest.mark.parametrize("seed", range(20))
def test_random_groups_have_the_same_sizes_within_2d_but_are_not_the_papers(build, seed):
    routing = build(routing="random").for_seed(seed)
    drawn = groups(routing)
    assert (len(drawn["A"]), len(drawn["B"]), drawn["C"]) == (len(A), len(B), C)
    assert drawn["A"] != A
    assert routing.sizes == {"A": 1, "B": 2, "C": 3}
    assert build(routing="random").for_seed(seed) == routing == routing.for_seed(seed + 1)


def test_two_datasets_of_two_groups_are_always_swapped_by_random_routing(build):
    for seed in range(5):
        table = build(("pathmnist", "breastmnist"), routing="random").for_seed(seed).datasets
        assert table == {"pathmnist": "B", "breastmnist": "A"}


@pytest.mark.parametrize("names", [("pathmnist", "bloodmnist", "vesselmnist3d"), ("vesselmnist3d", "nodulemnist3d")])
def test_where_there_are_no_other_groups_nothing_is_drawn(build, names):
    hard, random = build(names), build(names, routing="random")
    assert (random.datasets, random.random_seed) == (hard.datasets, None)
    assert random.for_seed(3) == random


def test_seeds_of_trainings_and_of_the_routing_draw_different_groups(build):
    for seeds in ([(0, seed) for seed in range(20)], [(seed, 0) for seed in range(20)]):
        drawn = {
            tuple(build(routing="random", random_seed=of_routing).for_seed(of_training).datasets.values())
            for of_routing, of_training in seeds
        }
        assert len(drawn) > 10


def test_every_other_routing_is_the_same_for_all_seeds(build):
    for routing in ("specialists", "modality", "shared", "per_dataset", "gated"):
        assert build(routing=routing).for_seed(7) == build(routing=routing)


def test_random_groups_do_not_depend_on_the_order_of_training(build):
    order = ("vesselmnist3d", *reversed(ALL), "nodulemnist3d")
    names = tuple(dict.fromkeys(order))
    for seed in range(5):
        expected = build(routing="random").for_seed(seed)
        found = build(names, routing="random").for_seed(seed)
        assert found.datasets == expected.datasets
        assert tuple(found.datasets) == names


def test_gated_routing_is_the_papers_table_with_a_gate_on_it(build):
    hard, gated = build(), build(routing="gated", gate="image", gate_start="routing", gate_rounds=3)
    assert (hard.gate, hard.gate_start, hard.gate_rounds) == (None, None, None)
    assert (gated.gate, gated.gate_start, gated.gate_rounds) == ("image", "routing", 3)
    assert (gated.datasets, gated.sizes) == (hard.datasets, hard.sizes)


def test_the_kind_none_means_no_specialist_for_any_dataset(build):
    for routing in ("specialists", "shared", "gated"):
        table = build(kind="none", routing=routing)
        assert table.sizes == {}
        assert table.datasets == dict.fromkeys(ALL)
        assert table.gate is None
        assert set(table.tokenizers.values()) == {"shared"}


@pytest.mark.parametrize(("kind", "size"), [("lora", 8), ("prompt", 10)])
@pytest.mark.parametrize("routing", ["specialists", "per_dataset", "gated"])
def test_loras_and_prompts_are_of_one_size_for_every_specialist(build, kind, size, routing):
    assert set(build(kind=kind, routing=routing, lora_rank=8, prompt_tokens=10).sizes.values()) == {size}


def test_the_order_of_the_datasets_is_the_order_of_a_round(build):
    names = ("vesselmnist3d", "pathmnist", "breastmnist")
    for routing in ("specialists", "modality", "shared", "per_dataset", "random", "gated"):
        assert tuple(build(names, routing=routing).datasets) == names


def test_a_specialist_without_datasets_does_not_exist(build):
    assert build(("vesselmnist3d", "pathmnist")).sizes == {"A": 1, "C": 3}


@pytest.mark.parametrize("drawn", [{"pathmnist": "A"}, {"pathmnist": "A", "octmnist": "B"}])
def test_what_is_drawn_must_be_two_groups_of_those_whose_specialist_is_open(drawn):
    table = {"pathmnist": "random", "breastmnist": "random"}
    with pytest.raises(ValueError, match="drawn: not two groups"):
        Routing(name="random", kind="bottleneck", sizes={}, datasets=table, tokenizers={}, random_seed=0, drawn=drawn)


@pytest.mark.parametrize("sizes", [{}, {"A": 1, "B": 2}])
def test_sizes_and_routes_must_name_the_same_specialists(sizes):
    table = {"pathmnist": "A", "breastmnist": None}
    with pytest.raises(ValueError, match="routed to"):
        Routing(name="any", kind="bottleneck", sizes=sizes, datasets=table, tokenizers={})
