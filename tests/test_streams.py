import torch

from mosaic_pipeline.streams import stream


def drawn(*key) -> list[float]:
    return torch.rand(3, generator=stream(*key)).tolist()


def test_a_stream_depends_on_its_seed_and_all_of_its_names_and_on_nothing_else():
    torch.manual_seed(1)
    first = drawn(42, "visit", "breastmnist", 3)
    torch.manual_seed(2)
    assert drawn(42, "visit", "breastmnist", 3) == first
    others = [(43, "visit", "breastmnist", 3), (42, "visit", "breastmnist", 4), (42, "visit", "octmnist", 3)]
    assert all(drawn(*key) != first for key in others)
    assert drawn(42, "ab", "c") != drawn(42, "a", "bc")
