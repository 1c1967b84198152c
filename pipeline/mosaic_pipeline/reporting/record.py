"""What all records that a report reads have in common, and how one is held against where it lies."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mosaic_pipeline.reading import read_record, reading

A = TypeVar("A", bound="AnalysisRecord")

Count = Annotated[int, Field(ge=1)]
WholeNumber = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Cosine = Annotated[float, Field(ge=-1.001, le=1.001)]  # rounding may carry one beyond 1
NonNegative = Annotated[float, Field(ge=0)]


class Record(BaseModel):
    """A part of a JSON file of ours."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class AnalysisRecord(Record):
    """What an analysis of one training came to."""

    @property
    @abstractmethod
    def datasets(self) -> set[str]:
        """The datasets that it is of."""


class Weights(Record):
    """Where the backbone's weights are from: `random`, or the name of a file; and its sha256."""

    source: str
    sha256: str | None = None

    @property
    def random(self) -> bool:
        """Whether the backbone was never trained."""
        return self.source == "random"


def is_even(table: list) -> bool:
    """Whether all parts of a nested list have one shape."""
    try:
        np.array(table)
    except ValueError:
        return False
    return True


def check_names(record: Any, **expected: str | int) -> None:
    """Raise ValueError if a record is of another variant, seed and so on than the place where it lies."""
    found = {key: getattr(record, key) for key in expected}
    if found != expected:
        raise ValueError(f"of {', '.join(f'{key} {value}' for key, value in found.items())}")


def read_analyses(
    paths: Mapping[int, Path],
    kind: type[A],
    variant: str,
    datasets: Collection[str],
    check: Callable[[A, A], None] = lambda analysis, first: None,
) -> tuple[A, ...]:
    """Read the analyses of a variant by seed; `check` holds each against that of the first seed (ValueError)."""
    analyses: list[A] = []
    for seed, path in paths.items():
        analysis = read_record(path, kind)
        with reading(path):
            check_names(analysis, variant=variant, seed=seed)
            if other := sorted(analysis.datasets - set(datasets)):
                raise ValueError(f"of {other[0]}, which is not configured")
            check(analysis, analyses[0] if analyses else analysis)
        analyses.append(analysis)
    return tuple(analyses)


def check_datasets(found: Collection[str], expected: Collection[str]) -> None:
    """Raise ValueError unless these are the datasets that are expected, each once."""
    if set(found) != set(expected) or len(found) != len(expected):
        differing = sorted(set(found) ^ set(expected)) or list(found)
        raise ValueError(f"not of the datasets that are configured ({', '.join(differing)})")
