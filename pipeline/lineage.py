"""What a result was made from, by content: the md5s that tie runs, files and reports together."""

import json
from pathlib import Path
from typing import Any

from pipeline.digest import md5_file
from pipeline.errors import PipelineError


def read_meta(folder: Path) -> dict[str, Any]:
    """Return meta.json of a cached dataset. Raises PipelineError if it is missing."""
    try:
        return json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{folder}: not a cached dataset (no meta.json); `dvc repro cache` makes it") from None


def data_digest(folder: Path) -> str:
    """Return the md5 that stands for a cached dataset.

    It is that of meta.json, which holds the md5 of the source file and the limits: hashing the arrays themselves
    would read 50 GB for every run.
    """
    read_meta(folder)
    return md5_file(folder / "meta.json")


def read_training(folder: Path) -> dict[str, Any]:
    """Return train.json of a finished training. Raises PipelineError if it is missing."""
    try:
        return json.loads((folder / "train.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{folder}: no finished training (no train.json); `dvc repro train` makes it") from None
