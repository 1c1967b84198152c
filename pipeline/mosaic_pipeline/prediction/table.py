"""The table of predictions: a row for each image, kept as they are made, so that an interrupted run is continued."""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

from typing_extensions import Self

from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.errors import PipelineError

# What each row has; the classes follow. Last are the md5 of what was read, how it was prepared, the md5 of the model,
# and what was wrong.
FIRST, LAST = ("file", "item", "dataset", "predicted", "probability"), ("input", "prepared", "model", "error")

Row = Mapping[str, str]
Key = tuple[str, str]


def columns(classes: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of a table whose answers are of these classes; a class's own is `p: <name>`."""
    return (*FIRST, *(f"p: {name}" for name in classes), *LAST)


class Table:
    """Rows by file and item. While it is open each is appended to a hidden file beside `path`, which outlives a kill.

    Rows of an earlier run of the same model and dataset are there from the start, but for those with an error, which
    are to be tried again. Whether one still answers what is asked now, `answers` says.
    """

    def __init__(self, path: Path, header: Sequence[str], same: Mapping[str, str]) -> None:
        """Read what is there already. Raises PipelineError if that is another table: `same` are values of every row."""
        self._path, self._header = path, tuple(header)
        self._journal = path.with_name(f".{path.name}.partial")
        self.rows: dict[Key, Row] = {}
        for file in (path, self._journal):
            for row in _read(file, self._header):
                if any(row[key] != value for key, value in same.items()):
                    raise PipelineError(_another(path, file))
                self.rows[row["file"], row["item"]] = row
        self.rows = {key: row for key, row in self.rows.items() if not row["error"]}
        self._stream: TextIO | None = None

    def answers(self, key: Key, given: str, prepared: str) -> bool:
        """Whether there is a row of these very bytes (by md5), prepared in this way."""
        row = self.rows.get(key)
        return row is not None and (row["input"], row["prepared"]) == (given, prepared)

    def check_files(self, names: Collection[str]) -> None:
        """Raise PipelineError if it has rows of other files: it is the table of another folder."""
        if others := sorted({file for file, _ in self.rows}.difference(names)):
            raise PipelineError(
                f"{self._path}: is there already, with rows of files that are not here, such as {others[0]}; say "
                "another with -o"
            )

    def __enter__(self) -> Self:
        """Begin to append."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._journal, _csv(self._header, self.rows.values()))
        self._stream = open(self._journal, "a", encoding="utf-8", newline="")
        return self

    def add(self, rows: Iterable[Row]) -> None:
        """Keep rows, on the disk before the next ones are made."""
        assert self._stream is not None
        rows = list(rows)
        self.rows |= {(row["file"], row["item"]): row for row in rows}
        writer = csv.DictWriter(self._stream, self._header, lineterminator="\n")
        writer.writerows(rows)
        self._stream.flush()

    def finish(self, keys: Iterable[Key]) -> None:
        """Write the rows of these files and items, in this order, under the final name."""
        write_text(self._path, _csv(self._header, (self.rows[key] for key in keys)))
        self._journal.unlink()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop appending."""
        if self._stream:
            self._stream.close()


def _csv(header: Sequence[str], rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _read(path: Path, header: tuple[str, ...]) -> list[Row]:
    """Return the whole rows of a table; none if there is no file. Raises PipelineError for another table."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise PipelineError(_another(path, path)) from None
    whole = text[: text.rfind("\n") + 1]  # what was being written when the process was killed is made again
    try:
        found = list(csv.reader(io.StringIO(whole, newline=""), strict=True))
    except csv.Error:
        found = []
    if text and (not found or tuple(found[0]) != header):
        raise PipelineError(_another(path, path))
    return [dict(zip(header, row, strict=True)) for row in found[1:] if len(row) == len(header)]


def _another(path: Path, found: Path) -> str:
    return f"{found}: is there already, and is no table of this model and dataset; say another than {path.name} with -o"
