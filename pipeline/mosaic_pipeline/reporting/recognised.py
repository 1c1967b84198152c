"""Which dataset test cases were proposed to be of, by the backbone alone: what `recognise` wrote, read and checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import model_validator
from typing_extensions import Self

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.layout import RECOGNITION_TEST, recognition_file
from mosaic_pipeline.reading import read_record, reading
from mosaic_pipeline.reporting.record import Count, Record, Share, WholeNumber, check_datasets, check_names
from mosaic_pipeline.reporting.records import DatasetResult


class Proposed(Record):
    """How many cases were proposed to be of each dataset, and how many of none."""

    proposed: dict[str, Count]
    none: WholeNumber

    @property
    def cases(self) -> int:
        """How many cases that is."""
        return sum(self.proposed.values()) + self.none

    def share(self, name: str) -> float:
        """Return the share of the cases that were proposed to be of a dataset."""
        return self.proposed.get(name, 0) / self.cases

    @property
    def share_none(self) -> float:
        """The share of the cases that were proposed to be of none."""
        return self.none / self.cases


class RecognisedResult(Proposed):
    """Test cases of one dataset; `held_out` is the same with the others alone as candidates, None without any."""

    n: Count
    held_out: Proposed | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if {self.cases, *([self.held_out.cases] if self.held_out else [])} != {self.n}:
            raise ValueError(f"not of {self.n} cases")
        return self


class RecognisedFile(Record):
    """Content of recognition/test.json."""

    weights: str
    accepted: Share
    datasets: dict[str, RecognisedResult]


class ExternalFile(Proposed):
    """Content of recognition/external/<dataset>.json."""

    dataset: str
    weights: str
    n: Count

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.cases != self.n:
            raise ValueError(f"not of {self.n} cases")
        return self


@dataclass(frozen=True)
class Recognised:
    """What came of all datasets: those that models are trained on, and `external` ones."""

    accepted: float
    datasets: dict[str, RecognisedResult]
    external: dict[str, ExternalFile]


def read_recognised(
    root: Path,
    datasets: Mapping[str, Dataset],
    tested: Mapping[str, DatasetResult],
    external: Iterable[str],
    weights: str | None,
) -> Recognised:
    """Read what `recognise` wrote below `root`, of the same cases and backbone as the evaluation."""
    path = root / RECOGNITION_TEST
    file = read_record(path, RecognisedFile)
    with reading(path):
        _check_weights(file.weights, weights)
        check_datasets(file.datasets, list(datasets))
        for name, result in file.datasets.items():
            if result.n != tested[name].n:
                raise ValueError(f"{name}: n is {result.n}, but {tested[name].n} cases were tested")
            for each in (result, *([result.held_out] if result.held_out else [])):
                _check_known(each, datasets)
    return Recognised(
        file.accepted, file.datasets, {name: _read_external(root, name, datasets, weights) for name in external}
    )


def _read_external(root: Path, name: str, datasets: Mapping[str, Dataset], weights: str | None) -> ExternalFile:
    path = root / recognition_file(name)
    file = read_record(path, ExternalFile)
    with reading(path):
        check_names(file, dataset=name)
        _check_weights(file.weights, weights)
        _check_known(file, datasets)
    return file


def _check_weights(found: str, weights: str | None) -> None:
    if found != weights:
        raise ValueError("of another backbone than the evaluation")


def _check_known(found: Proposed, datasets: Mapping[str, Dataset]) -> None:
    if other := sorted(found.proposed.keys() - datasets.keys()):
        raise ValueError(f"of {other[0]}, which is not configured")
