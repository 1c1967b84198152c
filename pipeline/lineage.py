"""What a result was made from, by content: the md5s that tie runs, files and reports together."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.digest import md5_file
from pipeline.errors import PipelineError
from pipeline.layout import BACKBONE, TEST_DATA, TRAINING_DATA
from pipeline.weights.load import read_provenance


@dataclass(frozen=True)
class Lineage:
    """What a training is made from, besides seed and code.

    `md5` are those of configuration and weights, `data` has the digest of what training reads of each dataset.
    `weights` says what they are, for whoever only gets the results: random, or the npz by name and sha256.
    """

    md5: dict[str, str]
    data: dict[str, str]
    weights: dict[str, str]

    @property
    def determinants(self) -> dict[str, str]:
        """All of it by name, for the key of a checkpoint."""
        return self.md5 | self.data


def read_lineage(config_md5: str, datasets: Iterable[str]) -> Lineage:
    """Return the lineage of a training whose configuration has this md5. Raises PipelineError if a file is missing."""
    provenance = read_provenance(BACKBONE)
    return Lineage(
        md5={"config": config_md5, "weights": md5_file(BACKBONE)},
        data={name: data_digest(TRAINING_DATA / name) for name in datasets},
        weights={key: value for key, value in provenance.items() if key in ("source", "sha256")},
    )


def read_meta(folder: Path) -> dict[str, Any]:
    """Return meta.json of one part of a cached dataset. Raises PipelineError if it is missing."""
    try:
        return json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{folder}: not a cached dataset (no meta.json); `dvc repro cache` makes it") from None


def read_origin(dataset: str) -> dict[str, Any]:
    """Return what both parts of a cached dataset say of it, as one, for whoever only gets the results."""
    training, test = read_meta(TRAINING_DATA / dataset), read_meta(TEST_DATA / dataset)
    both = {"splits": training["splits"] | test["splits"], "findings": training["findings"] + test["findings"]}
    return training | test | both


def data_digest(folder: Path) -> str:
    """Return the md5 that stands for one part of a cached dataset, what training reads or the test split.

    It is that of meta.json, which holds the md5 of the arrays: hashing these again would read 50 GB for every run.
    """
    read_meta(folder)
    return md5_file(folder / "meta.json")


def read_training(folder: Path) -> dict[str, Any]:
    """Return train.json of a finished training. Raises PipelineError if it is missing."""
    try:
        return json.loads((folder / "train.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{folder}: no finished training (no train.json); `dvc repro train` makes it") from None
