"""A checkout that was moved or copied: MLflow keeps absolute places of artifacts, which have to follow it."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

ARTIFACTS = "mlartifacts"
PLACES = (
    ("experiments", "artifact_location"),  # first: where new runs write
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def follow(root: Path, timeout: float) -> None:
    """Let the places of artifacts in the checkout's own mlflow.db follow it to `root`, and say so in one line.

    Otherwise MLflow would write to where the checkout was, in a folder made anew, or into the checkout of which this
    is a copy. What still lies at the old place alone keeps it. A folder that somebody may have chosen (it is there,
    and no checkout) is left alone, with a warning. `timeout` is for a locked database, in seconds.
    """
    database = root / "mlflow.db"
    if not database.is_file() or database.resolve() != database:  # a link: somebody else's
        return
    try:
        with closing(sqlite3.connect(database, timeout=timeout)) as connection, connection:
            _follow(connection, root / ARTIFACTS)
    except sqlite3.Error:
        return  # MLflow, which opens it next, says what is wrong with it


def _follow(connection: sqlite3.Connection, here: Path) -> None:
    left: set[Path] = set()
    kept: set[Path] = set()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table, column in PLACES:
        if table not in tables:
            continue
        found = connection.execute(f"SELECT rowid, {column} FROM {table} WHERE {column} LIKE '%/{ARTIFACTS}%'")
        for row, place in found.fetchall():
            path = _local(place)
            old = next((folder for folder in (path, *path.parents) if folder.name == ARTIFACTS), None) if path else None
            if path is None or old is None or old == here:
                continue
            new = here / path.relative_to(old)
            if not _was_ours(old, here):
                if path == old:
                    print(
                        f"warning: MLflow: artifacts go to {old}, outside this checkout; to have them here, move what "
                        f"is there into {here}",
                        file=sys.stderr,
                    )
            elif path != old and path.exists() and not new.exists():
                kept.add(old)
            else:
                moved = new.as_uri() if place.startswith("file:") else str(new)
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (moved, row))
                left.add(old)
    for old in sorted(left):
        rest = f"; those that are only in {old} stay there" if old in kept else ""
        print(f"MLflow: this checkout was in {old.parent}, artifacts now go to {here}{rest}", file=sys.stderr)


def _was_ours(old: Path, here: Path) -> bool:
    """Whether `old` is where this checkout, or the one that it is a copy of, kept its artifacts."""
    if old.exists():
        return (old.parent / "dvc.yaml").exists()
    return here.exists() or not old.parent.exists()


def _local(place: str) -> Path | None:
    """Return the path of a file URI, or of what is a path already; None for anything else."""
    url = urlsplit(place)
    if url.scheme == "file" and url.netloc in ("", "localhost"):
        return Path(url2pathname(url.path))
    return Path(place) if Path(place).is_absolute() else None
