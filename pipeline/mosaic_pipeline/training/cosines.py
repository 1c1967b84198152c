"""Cosines between gradients, or whatever comes in many tensors."""

from collections.abc import Sequence

import torch
from torch import Tensor


def cosine_matrix(vectors: Sequence[Sequence[Tensor]]) -> list[list[float]]:
    """Return the cosines [D, D] of D vectors, each given as parts; nan where one of the two is zero."""
    products = torch.zeros(len(vectors), len(vectors), dtype=torch.float64)
    # Part by part and in double precision: the vectors together fill memory, and sums are over millions.
    for parts in zip(*vectors, strict=True):
        rows = torch.stack([part.detach().flatten() for part in parts]).double()
        products += (rows @ rows.T).cpu()
    norms = products.diagonal().sqrt()
    return (products / norms[:, None] / norms[None, :]).tolist()
