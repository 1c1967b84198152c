"""What is kept of the training features of a dataset: their sums, by class, from which means and scatter follow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.datasets import Dataset


@dataclass
class Moments:
    """Sums over the features seen so far, in float64, whatever number of cases they are of.

    `counts` [K] and `sums` [K, D] are by group of cases, `squares` [D, D] is over all of them. A case counts in each
    group that it is in.
    """

    counts: NDArray[np.float64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def empty(cls, dataset: Dataset, width: int) -> "Moments":
        """Return those of no case yet, with features of `width` values."""
        groups = dataset.num_classes + dataset.multi_label
        return cls(np.zeros(groups), np.zeros((groups, width)), np.zeros((width, width)))

    def add(self, features: NDArray[np.float32], groups: NDArray[np.bool_]) -> None:
        """Add features [N, D] of cases with the `groups` [N, K] that each is in."""
        member, seen = groups.astype(np.float64), features.astype(np.float64)
        self.counts += member.sum(axis=0)
        self.sums += member.T @ seen
        self.squares += (seen * member.sum(axis=1, keepdims=True)).T @ seen

    def means(self) -> NDArray[np.float64]:
        """Return the mean of each group that has a case, [<= K, D]."""
        there = self.counts > 0
        return self.sums[there] / self.counts[there, None]

    def covariance(self) -> NDArray[np.float64]:
        """Return how features scatter about the means of their groups, [D, D]."""
        between = self.means() * np.sqrt(self.counts[self.counts > 0])[:, None]
        return (self.squares - between.T @ between) / self.counts.sum()


def groups_of(dataset: Dataset, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the groups [N, K] that cases with these labels [N, L] are in: classes, or each of several labels.

    Cases that have none of several labels are a group of their own, the last one.
    """
    if not dataset.multi_label:
        return labels == np.arange(dataset.num_classes)
    given = labels == 1
    return np.concatenate([given, ~given.any(axis=1, keepdims=True)], axis=1)
