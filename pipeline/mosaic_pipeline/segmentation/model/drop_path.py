"""Stochastic depth (arXiv:1603.09382) whose draws are given: the same for resumed trainings and several processes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Leaves out a residual branch of those images for which `kept` says so, while that is given.

    `kept` [N] is 0, or 1 over the share of images that keep the branch.
    """

    def __init__(self) -> None:
        """Keep every branch until told otherwise."""
        super().__init__()
        self.kept: Tensor | None = None

    def forward(self, branch: Tensor) -> Tensor:
        """Scale a branch [N, ...] image by image."""
        if self.kept is None:
            return branch
        return branch * self.kept.view(-1, *[1] * (branch.dim() - 1)).to(branch.dtype)


def draw_kept(rates: Sequence[float], count: int, generator: torch.Generator) -> Tensor:
    """Draw what `count` images keep of the branches with these rates of loss: [count, branches] on the CPU."""
    share = 1 - torch.tensor(rates)
    return (torch.rand(count, len(rates), generator=generator) < share) / share


def set_kept(paths: Sequence[DropPath], kept: Tensor | None) -> None:
    """Give each branch its column of `kept` [N, branches]; None keeps all."""
    for index, path in enumerate(paths):
        path.kept = None if kept is None else kept[:, index]
