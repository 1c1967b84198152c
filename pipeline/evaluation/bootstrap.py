"""Accuracy and AUC of resampled test sets: how far either could differ with other cases of the same kind.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993. A resample is a set of case weights (how often each case
was drawn), and both metrics are exact sums over weights: no resampled scores are ever made or sorted.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from scipy import sparse

from pipeline.datasets import Dataset
from pipeline.evaluation.metrics import auc, predictions, roc_columns
from pipeline.evaluation.undefined import mean_of_defined, ratio

RESAMPLES = 2000
# Resamples worked on at once: their weights fill whole cache lines, and TissueMNIST's 47,280 cases take 12 MB.
CHUNK = 32


def bootstrap(dataset: Dataset, labels: np.ndarray, scores: np.ndarray, resamples: int = RESAMPLES) -> np.ndarray:
    """Return ACC and AUC of `resamples` resamples of the cases, float64 [resamples, 2].

    For labels int64 [N, L] and scores [N, C]. The resamples are those of `case_weights`, whatever the scores: row b
    of two models is the same resample, so that differences between their rows are paired. AUC is nan throughout
    where it is undefined for the cases themselves. A yes/no label that a resample has only one answer of, possible
    where it is rare among few cases, is left out of the mean of that resample.
    """
    right = (predictions(dataset, scores) == labels).sum(axis=1)
    columns = []
    if not np.isnan(auc(dataset, labels, scores)):
        positive, compared = roc_columns(dataset, labels, scores)
        columns = [_Column(*column) for column in zip(positive.T, compared.T, strict=True)]
    chunks = []
    for weights in case_weights(dataset, labels, resamples):
        areas = np.array([column.area(weights) for column in columns]).reshape(-1, weights.shape[1])
        chunks.append(np.stack([right @ weights / labels.size, mean_of_defined(areas, axis=0)], axis=1))
    return np.concatenate(chunks)


def case_weights(dataset: Dataset, labels: np.ndarray, resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """Yield how often each case is drawn in each resample, float64 [N, <= CHUNK], a chunk of resamples at a time.

    As many cases of each class are drawn as there are, with replacement, because the test sets were split by class;
    of multi-label cases, as many as there are. The draws depend on the name of the dataset and on its labels alone.
    The only case of a class is thus in every resample, once: their spread knows nothing of how such cases vary.
    """
    cases = len(labels)
    # A case's stratum is the run of equal labels in `order` that it is in: where the run starts, and how long it is.
    strata = np.zeros(cases, np.int64) if dataset.multi_label else labels[:, 0]
    order = np.argsort(strata, kind="stable")
    _, start, number, size = np.unique(strata[order], return_index=True, return_inverse=True, return_counts=True)
    start, size = start[number], size[number]
    generator = _generator(dataset.name)
    for first in range(0, resamples, CHUNK):
        rows = min(CHUNK, resamples - first)
        # Uniform numbers times sizes: unlike bounded integers, the same draws in every release of numpy.
        drawn = order[start + (generator.random((rows, cases)) * size).astype(np.int64)]
        drawn += cases * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * cases).reshape(rows, cases)
        yield np.ascontiguousarray(counts.T, dtype=np.float64)


class _Column:
    """One ROC curve's cases, ordered once, and its area under any weights.

    The area is the share of (positive, negative) pairs in which the positive scores higher, a tie counting half. The
    distinct scores of positives cut the line of scores into intervals. Twice the pairs won are then the sum over
    intervals of the positives above one times the negatives in it, where a negative that ties with a positive lies
    half below and half above that score. Weights are whole numbers, hence the sums exact, in whatever order.
    """

    def __init__(self, positive: np.ndarray, scores: np.ndarray) -> None:
        cuts, at_cut = np.unique(scores[positive], return_inverse=True)
        below, above = (np.searchsorted(cuts, scores[~positive], side=side) for side in ("left", "right"))
        interval, negatives = np.concatenate([below, above]), np.tile(np.flatnonzero(~positive), 2)
        self.positives_at = _summing(at_cut, np.flatnonzero(positive), (len(cuts), len(scores)))
        self.negatives_in = _summing(interval, negatives, (len(cuts) + 1, len(scores)))

    def area(self, weights: np.ndarray) -> np.ndarray:
        """Return the AUC [B] under weights [N, B]; nan where either kind of case is missing."""
        at_cut = self.positives_at @ weights
        positives = at_cut.sum(axis=0)
        negatives = weights.sum(axis=0) - positives
        # Above interval k are the positives at cuts k, k + 1, ...; above the last there are none.
        above = positives - np.cumsum(at_cut, axis=0) + at_cut
        won_twice = np.einsum("kb,kb->b", above, (self.negatives_in @ weights)[:-1])
        return ratio(won_twice / 2, positives * negatives)


def _summing(rows: np.ndarray, cases: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """Matrix that adds the weight of each of `cases` to its one of `rows`; a case that is given twice counts twice."""
    return sparse.csr_array((np.ones(len(rows)), (rows, cases)), shape=shape)


def _generator(name: str) -> np.random.Generator:
    """Return a generator of its own for each dataset, the same on every machine."""
    digest = hashlib.sha256(f"bootstrap/{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
