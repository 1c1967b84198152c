"""MLflow's runs and registered models, read from its database as it stands: nothing is created, moved or written."""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.request import pathname2url

from mosaic_pipeline.digest import MODEL_TAG
from mosaic_pipeline.redact import redacted

DATABASE = "mlflow.db"
LARGEST = 2**63 - 1  # of whole numbers in SQLite
DELETED = "Deleted_Internal"  # what MLflow leaves of a version
TRAININGS = ("train", "seg_train")


@dataclass(frozen=True)
class TrackedRun:
    """A run of MLflow: what it was, when it began (ISO 8601, UTC), and its tags."""

    id: str
    name: str
    status: str
    started: str
    tags: Mapping[str, str]

    @property
    def stage(self) -> str:
        """The stage that it is of."""
        return self.tags.get("stage", "")


@dataclass(frozen=True)
class Version:
    """A version of a registered model, with the run that made it and its tags."""

    model: str
    number: int
    run: str | None
    tags: Mapping[str, str]


class Runs:
    """The runs of a checkout. `why` says why there are none to read, if so."""

    def __init__(self, root: Path) -> None:
        """Find the database: that of MLFLOW_TRACKING_URI, else the project's own."""
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        self._file: Path | None = None
        self.why = ""
        if uri and not uri.startswith("sqlite:///"):
            self.why = f"MLflow's runs are in {redacted(uri)}, which is not read"
            return
        file = Path(uri.removeprefix("sqlite:///")) if uri else root / DATABASE
        if not file.is_file():
            self.why = f"there is no {file.name} here"
            return
        self._file = file
        try:
            self._select("SELECT run_uuid FROM runs LIMIT 1")
        except sqlite3.Error as error:
            self._file, self.why = None, f"{file.name} cannot be read ({error})"

    def of_model(self, md5: str) -> list[TrackedRun]:
        """Return the runs that trained, tested or analysed the model with this md5, the oldest first."""
        return self._tagged(MODEL_TAG, md5)

    def find(self, prefix: str) -> list[TrackedRun]:
        """Return the runs whose id begins like this."""
        rows = self._select("SELECT run_uuid FROM runs WHERE run_uuid LIKE ?", f"{prefix}%") if prefix.isalnum() else []
        return [run for (each,) in rows if (run := self._read(each))]

    def tagged_md5(self, prefix: str) -> set[tuple[str, str]]:
        """Return what is tagged with an md5 that begins like this: (`md5.model`, md5), (`md5.config`, md5), ..."""
        rows = self._select(
            "SELECT DISTINCT key, value FROM tags WHERE key LIKE 'md5.%' AND value LIKE ?", f"{prefix}%"
        )
        return {(str(key), str(value)) for key, value in rows}

    def version(self, model: str, number: str | None = None, alias: str | None = None) -> Version | None:
        """Return a version of a registered model, by number or alias."""
        if alias is not None:
            rows = self._select(
                "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?", model, alias
            )
            number = str(rows[0][0]) if rows else None
        if number is None or not number.isdigit() or int(number) > LARGEST:
            return None
        rows = self._select(
            "SELECT run_id FROM model_versions WHERE name = ? AND version = ? AND current_stage != ?",
            *(model, int(number), DELETED),
        )
        if not rows:
            return None
        tags = self._select(
            "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?", model, int(number)
        )
        return Version(model, int(number), rows[0][0] or None, {str(key): str(value) for key, value in tags})

    def registered(self) -> list[str]:
        """Return the names of all registered models."""
        return [str(name) for (name,) in self._select("SELECT name FROM registered_models ORDER BY name")]

    def _tagged(self, key: str, value: str) -> list[TrackedRun]:
        rows = self._select("SELECT run_uuid FROM tags WHERE key = ? AND value = ?", key, value)
        found = (self._read(each) for (each,) in rows)
        return sorted((run for run in found if run), key=lambda run: (run.started, run.id))

    def _read(self, run: str) -> TrackedRun | None:
        rows = self._select(
            "SELECT name, status, start_time FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'", run
        )
        if not rows:
            return None
        name, status, milliseconds = rows[0]
        started = datetime.fromtimestamp((milliseconds or 0) / 1000, timezone.utc).isoformat(timespec="milliseconds")
        tags = self._select("SELECT key, value FROM tags WHERE run_uuid = ?", run)
        return TrackedRun(run, str(name), str(status), started, {str(key): str(value) for key, value in tags})

    def _select(self, query: str, *values: object) -> list[tuple]:
        if self._file is None:
            return []
        with self._open(self._file) as connection:
            try:
                return connection.execute(query, values).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error) and "FROM runs" not in query:
                    return []  # of another version of MLflow
                raise

    @staticmethod
    @contextmanager
    def _open(file: Path) -> Iterator[sqlite3.Connection]:
        uri = f"file:{pathname2url(str(file))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
            yield connection
