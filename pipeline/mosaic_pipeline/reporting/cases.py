"""What test cases say of variants, in numbers that stay small: the cases themselves are read, and let go."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mosaic_pipeline.arrays import open_arrays
from mosaic_pipeline.evaluation.inference import covariance_of_means

METRICS = ("acc", "auc")
# What the test cases of each dataset contribute to METRICS: [N, 2], in the order of their file.
Contributions = Mapping[str, np.ndarray]
Key = tuple[str, str]  # dataset, metric


@dataclass(frozen=True)
class Cases:
    """What the same test cases say of a variant and of a reference, over S trainings of each.

    By dataset and metric, `own` is the covariance [S, S] of the variant's trainings over other cases, `common` [S, S]
    that of its trainings (rows) and the reference's (columns), `variance` [S] how cases vary in each training.
    `answers` is by dataset on how many cases the variant's accuracy, mean over trainings, is above and below the
    reference's.
    """

    own: dict[Key, np.ndarray]
    common: dict[Key, np.ndarray]
    variance: dict[Key, np.ndarray]
    answers: dict[str, tuple[int, int]]


def compare_cases(
    variant: Sequence[Contributions], reference: Sequence[Contributions], datasets: Sequence[str]
) -> Cases:
    """Compare the contributions of each training of two variants on each of the datasets."""
    found = Cases({}, {}, {}, {})
    for name in datasets:
        for column, metric in enumerate(METRICS):
            one, other = (
                np.array([training[name][:, column] for training in trainings], dtype=np.float64)
                for trainings in (variant, reference)
            )
            both, own = covariance_of_means(np.concatenate([one, other])), len(one)
            found.own[name, metric], found.common[name, metric] = both[:own, :own], both[:own, own:]
            found.variance[name, metric] = np.var(one, axis=1)
            if metric == "acc":
                # Shares of labels are stored in single precision; a whole answer is never less than this apart.
                over_cases = np.round(one.mean(axis=0) - other.mean(axis=0), 6)
                found.answers[name] = (int(np.sum(over_cases > 0)), int(np.sum(over_cases < 0)))
    return found


class StoredContributions(Contributions):
    """Contributions in the npz files of evaluations, read whenever they are asked for and not kept.

    A thousand trainings, each tested on all official images, have a gigabyte of them.
    """

    def __init__(self, stored: Mapping[str, tuple[Path, int]]) -> None:
        """Take file and number of cases of each dataset."""
        self._stored = dict(stored)

    def __getitem__(self, name: str) -> np.ndarray:
        """Return those of a dataset."""
        path, count = self._stored[name]
        return read_stored(path, {name: count})[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the datasets."""
        return iter(self._stored)

    def __len__(self) -> int:
        """Return the number of datasets."""
        return len(self._stored)

    def read(self) -> dict[str, np.ndarray]:
        """Return those of all datasets, each file opened once."""
        by_file: dict[Path, dict[str, int]] = {}
        for name, (path, count) in self._stored.items():
            by_file.setdefault(path, {})[name] = count
        return {name: found for path, cases in by_file.items() for name, found in read_stored(path, cases).items()}


def in_memory(contributions: Contributions) -> Contributions:
    """Return the contributions to all datasets, read if they are not there."""
    return contributions.read() if isinstance(contributions, StoredContributions) else contributions


def read_stored(path: Path, cases: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Read what the cases of each dataset contribute, [N, 2], from the npz of an evaluation. Raises PipelineError."""
    with open_arrays(path) as read:
        return {name: read(f"{name}/contributions", np.float32, (count, len(METRICS))) for name, count in cases.items()}
