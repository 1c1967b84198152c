import math

import pytest
import torch

from mosaic_pipeline.analysis.cka import linear_cka


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cka(x: torch.Tensor, y: torch.Tensor) -> float:
    return linear_cka([x, y])[0][1]


def hsic(x: torch.Tensor, y: torch.Tensor) -> float:
    """Unbiased HSIC of linear kernels, term by term as in Song et al., equation 5."""
    n, ones = len(x), torch.ones(len(x), dtype=x.dtype)
    k, l = ((z @ z.T).fill_diagonal_(0) for z in (x, y))  # noqa: E741
    pairs = (ones @ k @ ones) * (ones @ l @ ones) / ((n - 1) * (n - 2))
    return ((torch.trace(k @ l) + pairs - 2 / (n - 2) * ones @ k @ l @ ones) / (n * (n - 3))).item()


def test_it_is_the_unbiased_hsic_of_linear_kernels_normalised():
    x, y = features(12, 5) + 3, features(12, 7, seed=1) - 1
    y[:, 0] = x[:, 0]
    assert cka(x, y) == pytest.approx(hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y)))


def test_unrelated_features_are_at_zero_on_average_however_few_the_rows():
    values = [cka(features(16, 30, seed=seed), features(16, 30, seed=1000 + seed)) for seed in range(200)]
    spread = torch.tensor(values).std().item() / math.sqrt(len(values))
    assert abs(sum(values) / len(values)) < 3 * spread
    assert spread < 0.01


def test_fewer_than_four_rows_say_nothing():
    assert all(math.isnan(value) for row in linear_cka([features(3, 2), features(3, 2, seed=1)]) for value in row)


def test_features_are_like_themselves_their_rotations_shifts_and_scales():
    x = features(20, 6)
    rotation, _ = torch.linalg.qr(features(6, 6, seed=2))
    assert cka(x, x) == pytest.approx(1)
    assert cka(x, -3 * x @ rotation + features(6, seed=3)) == pytest.approx(1)


def test_features_are_not_like_other_linear_maps_of_themselves_or_unrelated_ones():
    x = features(40, 6)
    assert cka(x, x * torch.tensor([9.0, 1, 1, 1, 1, 1])) < 0.9
    assert abs(cka(x, features(40, 6, seed=4))) < 0.2


def test_all_pairs_at_once_are_each_pair_alone():
    sets = [features(15, width, seed=width) for width in (3, 4, 5)]
    matrix = linear_cka(sets)
    assert matrix == [[pytest.approx(cka(x, y)) for y in sets] for x in sets]


def test_features_that_never_vary_are_like_nothing():
    matrix = linear_cka([torch.full((5, 2), 0.1), features(5, 2)])
    assert all(math.isnan(value) for value in (*matrix[0], matrix[1][0]))
    assert matrix[1][1] == pytest.approx(1)
