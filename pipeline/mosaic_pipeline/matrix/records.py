"""What is known of each cell, beyond its results: who works on it, and how its last attempt ended."""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from mosaic_pipeline.atomic import write_text

Attempt = Literal["running", "stopped", "failed", "done"]
# What Slurm calls a task, where a cell is one: the array and the number in it.
SLURM = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")


@dataclass(frozen=True)
class Record:
    """The last attempt at a cell: how it stands, since when (ISO 8601, UTC), where, as which job, and what it said."""

    state: Attempt
    since: str
    host: str
    job: str | None
    said: str

    @classmethod
    def now(cls, state: Attempt, said: str = "") -> "Record":
        """Return the record of an attempt of this process."""
        ids = [os.environ.get(name) for name in SLURM]
        job = "_".join(map(str, ids)) if all(ids) else None
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return cls(state, since, socket.gethostname(), job, said)


def record_file(folder: Path, name: str) -> Path:
    """Where the record of a cell is."""
    return folder / "cells" / f"{name}.json"


def write_record(folder: Path, name: str, record: Record) -> None:
    """Replace what is known of a cell."""
    write_text(record_file(folder, name), json.dumps(asdict(record), indent=2) + "\n")


def read_record(folder: Path, name: str) -> Record | None:
    """Return what is known of a cell; None if nothing is, or it cannot be read."""
    try:
        tree = json.loads(record_file(folder, name).read_text(encoding="utf-8"))
        return Record(**tree) if isinstance(tree, Mapping) else None
    except (OSError, ValueError, TypeError):
        return None
