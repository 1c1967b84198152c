"""What was tested beside the datasets' own clean images: corrupted ones, and datasets that no model was trained on.

Each file is held against the configuration and the evaluation of the same training.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import Self

from mosaic_pipeline.arrays import open_arrays
from mosaic_pipeline.data.corruptions import STRENGTHS
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.forms import read_form
from mosaic_pipeline.reading import read_record, reading
from mosaic_pipeline.reporting.files import METRICS, check_datasets, check_mean, check_names
from mosaic_pipeline.reporting.records import Count, DataOrigin, DatasetResult, Record, Share

ByStrength = Annotated[list[Share | None], Field(min_length=STRENGTHS, max_length=STRENGTHS)]


class CorruptedResult(Record):
    """Test of one dataset at every strength, mildest first; a metric that is undefined is None."""

    n: Count
    acc: ByStrength
    auc: ByStrength


class CorruptedFile(Record):
    """Content of evaluation/<variant>/<seed>/corrupted/<corruption>.json."""

    variant: str
    seed: int
    corruption: str
    md5: dict[str, str]
    datasets: dict[str, CorruptedResult]


class HeadResult(Record):
    """Test of a head on the features of one way through a model: a specialist, the backbone alone (None) or a gate.

    `val_score` is what the head was chosen by; a metric that is undefined is None.
    """

    specialist: str | None
    tokenizer: str | None
    gate: bool
    val_score: Share
    acc: Share
    auc: Share | None

    @property
    def way(self) -> tuple[str | None, str | None, bool]:
        """Which way it is."""
        return self.specialist, self.tokenizer, self.gate


class TransferFile(Record):
    """Content of evaluation/<variant>/<seed>/transfer/<dataset>.json; no heads where the model has no way for it.

    `own` is the specialist that the routing would give the dataset, None where its rule has none for it.
    """

    variant: str
    seed: int
    dataset: str
    md5: dict[str, str]
    own: str | None
    constant_acc: Share
    data: DataOrigin
    heads: list[HeadResult]

    @model_validator(mode="after")
    def _check(self) -> Self:
        ways = [head.way for head in self.heads]
        if len(set(ways)) < len(ways):
            raise ValueError("heads: one way is there twice")
        alone = {head.tokenizer for head in self.heads if head.specialist is None and not head.gate}
        if lacking := [head.tokenizer for head in self.heads if head.tokenizer not in alone]:
            behind = f" behind the tokenizer {lacking[0]}" if lacking[0] else ""
            raise ValueError(f"heads: none of the backbone alone{behind}")
        return self


@dataclass(frozen=True)
class Corrupted:
    """Test of one training on images of one corruption: results by dataset, and contributions [STRENGTHS, N, 2]."""

    results: dict[str, CorruptedResult]
    contributions: dict[str, np.ndarray]


@dataclass(frozen=True)
class Transfer:
    """Test of one training on one external dataset: form, file, and contributions [N, 2] of each of its heads."""

    dataset: Dataset
    file: TransferFile
    contributions: list[np.ndarray]


def read_corrupted(
    path: Path, variant: str, seed: int, corruption: str, clean: Mapping[str, DatasetResult], md5: Mapping[str, str]
) -> Corrupted:
    """Read the JSON and the npz of one corruption, of the same cases and model as the evaluation of `clean` images."""
    file = read_record(path, CorruptedFile)
    with reading(path):
        check_names(file, variant=variant, seed=seed, corruption=corruption)
        _check_model(file.md5, md5)
        check_datasets(file.datasets, list(clean))
        for name, result in file.datasets.items():
            if result.n != clean[name].n:
                raise ValueError(f"{name}: n is {result.n}, but {clean[name].n} clean images were tested")
    contributions = {}
    with open_arrays(path.with_suffix(".npz")) as read:
        for name, result in file.datasets.items():
            found = read(f"{name}/contributions", np.float32, (STRENGTHS, result.n, len(METRICS)))
            for place, metric in enumerate(METRICS):
                for value, cases in zip(getattr(result, metric), found[..., place], strict=True):
                    check_mean(name, metric, value, cases)
            contributions[name] = found
    return Corrupted(file.datasets, contributions)


def read_transfer(
    path: Path, variant: str, seed: int, dataset: str, md5: Mapping[str, str], like: Transfer | None = None
) -> Transfer:
    """Read the JSON and the npz of one external dataset, of the same model as the evaluation with these `md5`.

    Where another training of the variant was read, it must be `like` that: of the same ways and cases.
    """
    file = read_record(path, TransferFile)
    with reading(path):
        check_names(file, variant=variant, seed=seed, dataset=dataset)
        _check_model(file.md5, md5)
        form = read_form(dataset, file.data.form)
        if like and (_ways(file), file.data) != (_ways(like.file), like.file.data):
            raise ValueError(f"not of the same ways or data as that of seed {like.file.seed}")
    cases, contributions = file.data.splits["test"].n, []
    with open_arrays(path.with_suffix(".npz")) as read:
        for place, head in enumerate(file.heads):
            found = read(f"{place}/contributions", np.float32, (cases, len(METRICS)))
            for column, metric in enumerate(METRICS):
                check_mean(str(place), metric, getattr(head, metric), found[:, column])
            contributions.append(found)
    return Transfer(form, file, contributions)


def _ways(file: TransferFile) -> list[tuple[str | None, str | None, bool]]:
    return [head.way for head in file.heads]


def _check_model(found: Mapping[str, str], tested: Mapping[str, str]) -> None:
    if found.get("model") != tested.get("model"):
        raise ValueError("of another model than the evaluation")
