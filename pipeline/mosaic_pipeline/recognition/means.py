"""Means of the classes of several datasets, and how far features are from each dataset's nearest one."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.recognition.moments import Moments

# How much of the covariance is that of features that vary each by itself: what few cases say of pairs is noise.
SHRINKAGE = 0.1


@dataclass(frozen=True)
class Means:
    """Means float32 [K, D] of classes; `owners` int64 [K] says of which of `datasets`. `whitening` is float32 [D, D].

    Datasets are sorted by name, so that their order elsewhere changes nothing.
    """

    datasets: tuple[str, ...]
    means: NDArray[np.float32]
    owners: NDArray[np.int64]
    whitening: NDArray[np.float32]

    def distances(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return how far features [N, D] are from the nearest mean of each dataset, [N, len(datasets)].

        It is Mahalanobis' distance by the covariance within classes, divided by the root of D: about 1 from the own
        class.
        """
        turned = self.whitening.astype(np.float64)
        seen, means = features.astype(np.float64) @ turned, self.means.astype(np.float64) @ turned
        squares = (seen**2).sum(axis=1)[:, None] + (means**2).sum(axis=1) - 2 * seen @ means.T
        by_mean = np.sqrt(np.maximum(squares, 0) / features.shape[1])
        return np.stack([by_mean[:, self.owners == index].min(axis=1) for index in range(len(self.datasets))], axis=1)


def fit_means(moments: Mapping[str, Moments]) -> Means:
    """Return the class means of datasets and the whitening by the mean of their covariances within classes.

    Each dataset counts alike in it, whatever its size.
    """
    datasets = tuple(sorted(moments))
    means = [moments[name].means() for name in datasets]
    covariance = np.mean([moments[name].covariance() for name in datasets], axis=0)
    return Means(
        datasets=datasets,
        means=np.concatenate(means).astype(np.float32),
        owners=np.repeat(np.arange(len(datasets)), [len(each) for each in means]),
        whitening=_whitening(covariance).astype(np.float32),
    )


def _whitening(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return W with W W^T the inverse of the covariance, shrunk towards its diagonal.

    A feature that does not vary counts as it is.
    """
    variances = np.maximum(np.diag(covariance), 0)
    alone = np.diag(np.where(variances > np.finfo(np.float32).tiny, variances, 1.0))
    return np.linalg.inv(np.linalg.cholesky((1 - SHRINKAGE) * covariance + SHRINKAGE * alone)).T
