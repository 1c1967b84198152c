"""A class-stratified subset of a split: the same rows on every machine, without a seed."""

import numpy as np
from numpy.typing import NDArray


def stratified_subset(labels: NDArray[np.integer], limit: int | None) -> NDArray[np.int64]:
    """Return the sorted indices of at most `limit` rows of `labels` [N,L]; all rows for None.

    Shares follow the classes' proportions by largest remainder, and every class that occurs is kept if `limit` allows.
    Within a class the rows are evenly spaced, since files may be ordered by patient. For yes/no labels (L > 1) a row
    counts for its rarest label, so that rare findings keep their share; rows without any are a class of their own.
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    strata = rarest_label(labels) if labels.shape[1] > 1 else labels[:, 0]
    classes, sizes = np.unique(strata, return_counts=True)
    shares = _shares([int(size) for size in sizes], limit)
    kept = [
        np.flatnonzero(strata == value)[_evenly_spaced(int(size), share)]
        for value, size, share in zip(classes, sizes, shares, strict=True)
    ]
    return np.sort(np.concatenate(kept))


def rarest_label(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the column of each row's positive label that is rarest in the split; -1 for rows without one."""
    rare_first = np.argsort(labels.sum(axis=0), kind="stable")
    rarest = rare_first[np.argmax(labels[:, rare_first], axis=1)]
    return np.where(labels.any(axis=1), rarest, -1)


def _shares(sizes: list[int], limit: int) -> list[int]:
    """Split `limit` over classes of these sizes by largest remainder, none empty if `limit` allows."""
    # Integers throughout: a quotient that rounds otherwise elsewhere would be another subset.
    total = sum(sizes)
    shares = [limit * size // total for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda index: -(limit * sizes[index] % total))
    for index in by_remainder[: limit - sum(shares)]:
        shares[index] += 1
    if limit >= len(sizes):
        for index, share in enumerate(shares):
            if share == 0:
                shares[shares.index(max(shares))] -= 1
                shares[index] = 1
    return shares


def _evenly_spaced(size: int, share: int) -> NDArray[np.int64]:
    """Return `share` of the positions 0..size-1, each the middle of an equal part."""
    return (2 * np.arange(share) + 1) * size // (2 * max(share, 1))
