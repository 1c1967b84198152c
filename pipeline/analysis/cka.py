"""Linear CKA: how alike two sets of features of the same things are (Kornblith et al., arXiv:1905.00414, section 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor


def linear_cka(features: Sequence[Tensor]) -> list[list[float]]:
    """Compare S feature matrices [n, p_s] of the same n rows with each other: [S, S], 0 (unrelated) to 1.

    With centred columns it is ||y' x||^2 / (||x' x|| ||y' y||) in Frobenius norms. It does not change with orthogonal
    maps and isotropic scales of a matrix. nan where all rows of one of the two are equal.
    """
    # Double before the mean: of equal fp32 rows it is then exact, and they become zeros rather than its rounding.
    doubles = [x.double() for x in features]
    centred = [x - x.mean(dim=0) for x in doubles]
    products = torch.zeros(len(centred), len(centred), dtype=torch.float64)
    for i, x in enumerate(centred):
        for j, y in enumerate(centred[: i + 1]):
            products[i, j] = products[j, i] = (y.T @ x).square().sum()
    norms = products.diagonal().sqrt()
    return (products / norms[:, None] / norms[None, :]).tolist()
