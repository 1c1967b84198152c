"""How gradients lay in a training, in numbers that do not grow with its rounds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mosaic_pipeline.reporting.records import Alignment, Conflicts
from mosaic_pipeline.reporting.trainings import mean_of


@dataclass(frozen=True)
class Gradients:
    """Cosines [D, D] between the gradients of datasets that share one specialist, on `cases` images of each.

    `mean` is over all `rounds`, nan where one of them is undefined; `first` and `last` are of those rounds. `halves`
    [D] is the cosine between the gradients of two halves of a dataset's cases, mean over rounds.
    """

    specialist: str
    datasets: list[str]
    cases: int
    rounds: int
    mean: np.ndarray
    first: np.ndarray
    last: np.ndarray
    halves: list[float]


def summarise(conflicts: Conflicts) -> Gradients:
    """Return what the report needs of all rounds."""
    rounds: Sequence[Alignment] = conflicts.rounds
    return Gradients(
        specialist=conflicts.specialist,
        datasets=conflicts.datasets,
        cases=conflicts.cases,
        rounds=len(rounds),
        mean=np.array(mean_of([each.cosine for each in rounds])),
        first=np.array(rounds[0].cosine, dtype=float),
        last=np.array(rounds[-1].cosine, dtype=float),
        halves=mean_of([each.halves for each in rounds]),
    )
