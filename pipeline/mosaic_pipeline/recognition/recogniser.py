"""Proposes the dataset that an image is of, or none of them: the nearest class mean, if it is near enough.

As in Lee et al. (arXiv:1807.03888), with the limit of each dataset from its validation cases as in split conformal
prediction (arXiv:2107.07511).
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mosaic_pipeline.data.augment import Statistics
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.model.vit import VisionTransformer
from mosaic_pipeline.recognition.features import backbone_features, dimension_of
from mosaic_pipeline.recognition.means import Means, fit_means
from mosaic_pipeline.recognition.moments import Moments

# The share of a dataset's own cases that its limit lets pass.
ACCEPTED = 0.95


@dataclass(frozen=True)
class Sight:
    """How the backbone sees images: resized to `size` pixels a side, by the mean and std of `statistics`, precision."""

    size: int
    statistics: Statistics
    precision: str


@dataclass(frozen=True)
class Proposal:
    """The dataset that a case is proposed to be of, None for none of them; and what it is nearest to, how far away.

    `limit` is the distance up to which the nearest one is proposed; `runner_up` is the next one, None if there is no
    other.
    """

    dataset: str | None
    nearest: str
    distance: float
    limit: float
    runner_up: str | None


@dataclass(frozen=True)
class Candidates:
    """The datasets of one dimension: their class means, and `limits` float64 [datasets] of the distances from them."""

    means: Means
    limits: NDArray[np.float64]

    def propose(self, features: NDArray[np.float32]) -> list[Proposal]:
        """Return a proposal for each of features [N, D]."""
        return self.decide(self.means.distances(features))

    def decide(self, by_dataset: NDArray[np.float64]) -> list[Proposal]:
        """Return a proposal for each row of distances [N, datasets], infinite for a dataset that it cannot be of.

        Of equally near datasets it is the first by name.
        """
        datasets = self.means.datasets
        proposals = []
        for distances in by_dataset:
            first, *others = (index for index in np.argsort(distances, kind="stable") if np.isfinite(distances[index]))
            near = bool(distances[first] <= self.limits[first])
            proposals.append(
                Proposal(
                    dataset=datasets[first] if near else None,
                    nearest=datasets[first],
                    distance=float(distances[first]),
                    limit=float(self.limits[first]),
                    runner_up=datasets[others[0]] if others else None,
                )
            )
        return proposals


@dataclass(frozen=True)
class Recogniser:
    """Candidates by dimension, 2 or 3, and how the backbone has to see what is compared with them."""

    candidates: Mapping[int, Candidates]
    sight: Sight

    @property
    def datasets(self) -> set[str]:
        """All that can be proposed."""
        return {name for each in self.candidates.values() for name in each.means.datasets}

    def propose(self, backbone: VisionTransformer, images: Tensor) -> list[Proposal]:
        """Return a proposal for each of a batch of images. Raises as `distances`."""
        distances = self.distances(backbone, images)
        return self.candidates[dimension_of(tuple(images.shape))].decide(distances)

    def distances(
        self, backbone: VisionTransformer, images: Tensor, among: Collection[str] | None = None
    ) -> NDArray[np.float64]:
        """Return how far each of a batch of images is from each candidate of its dimension, [N, datasets].

        `images` are uint8 [N, ...] as stored, on the backbone's device. What is not `among` the datasets that are asked
        for is infinitely far. Raises PipelineError if no dataset is of the images' dimension.
        """
        dimension = dimension_of(tuple(images.shape))
        if dimension not in self.candidates:
            kind = {2: "images", 3: "volumes"}[dimension]
            raise PipelineError(f"no dataset of {kind} was trained, so none can be proposed")
        sight, means = self.sight, self.candidates[dimension].means
        features = backbone_features(
            backbone, images, size=sight.size, statistics=sight.statistics, precision=sight.precision
        )
        found = means.distances(features.cpu().numpy())
        asked = [among is None or name in among for name in means.datasets]
        return np.where(asked, found, np.inf)


def fit_candidates(moments: Mapping[str, Moments], validation: Mapping[str, NDArray[np.float32]]) -> Candidates:
    """Fit class means to training features, and the limits to those of the validation splits, [N, D] by dataset."""
    means = fit_means(moments)
    own = (means.distances(validation[name])[:, index] for index, name in enumerate(means.datasets))
    return Candidates(means, np.array([limit(distances) for distances in own]))


def limit(distances: NDArray[np.float64]) -> float:
    """Return the distance up to which a further case of the same kind lies with a probability of ACCEPTED or more.

    With too few distances [n] to say so (below 19) it is the largest.
    """
    rank = math.ceil((len(distances) + 1) * ACCEPTED)
    return float(np.sort(distances)[min(rank, len(distances)) - 1])
