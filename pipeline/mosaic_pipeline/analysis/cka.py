"""Linear CKA: how alike two sets of features of the same things are (Kornblith et al., arXiv:1905.00414, section 3)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

FEWEST = 4  # rows for which the unbiased HSIC is defined


def linear_cka(features: Sequence[Tensor]) -> list[list[float]]:
    """Compare S feature matrices [n, p_s] of the same n rows with each other: [S, S], 1 for the same, 0 unrelated.

    HSIC is estimated without bias (Song et al., JMLR 13, 2012, equation 5): the usual estimate calls unrelated features
    alike the more, the fewer rows there are for their width. So a value may be slightly negative. It does not change
    with orthogonal maps and isotropic scales of a matrix. nan with fewer than four rows, and where one never varies.
    """
    n = len(features[0])
    if n < FEWEST:
        return [[math.nan] * len(features) for _ in features]
    # Double before the mean: of equal fp32 rows it is then exact, and they become zeros rather than its rounding.
    centred = [double - double.mean(dim=0) for double in (x.double() for x in features)]
    # With the mean taken out, a row of the kernel sums to zero, and to minus its diagonal once that is left out.
    diagonals = [x.square().sum(dim=1) for x in centred]
    hsic = torch.zeros(len(centred), len(centred), dtype=torch.float64)  # but for the factor n (n - 3)
    for i, (x, k) in enumerate(zip(centred, diagonals, strict=True)):
        for j, (y, l) in enumerate(zip(centred[: i + 1], diagonals, strict=False)):  # noqa: E741 - Song's letters
            trace = (y.T @ x).square().sum() - k @ l
            hsic[i, j] = hsic[j, i] = trace + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (k @ l) / (n - 2)
    norms = hsic.diagonal().sqrt()
    return (hsic / norms[:, None] / norms[None, :]).tolist()
