"""A row of a results.csv: the number, and the keys that stand beside it."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.provenance.said import same, shown
from mosaic_pipeline.reading import read_table

TABLE, SEGMENTATION_TABLE = "reports/results.csv", "reports/segmentation/results.csv"
KEYS = ("variant", "seed", "dataset")
MEND = "get the file again from whoever made it"
# What a row says of itself, in the tree: its keys, then what was measured.
SHOWN = ("source", "official", "n", "acc", "auc", "case", "organ", "dsc", "nsd", "hd95")


@dataclass(frozen=True)
class Row:
    """One row of a results.csv, by its line (the header is line 1); `file` is as it was named."""

    file: str
    line: int
    cells: Mapping[str, str]

    @property
    def name(self) -> str:
        """How the tree calls it."""
        return f"{self.file}:{self.line}: {self.cells['variant']}, seed {self.cells['seed']}, {self.cells['dataset']}"

    @property
    def model(self) -> str | None:
        """The md5 of the model; None in files that do not say."""
        return self.cells.get("md5_model") or None

    @property
    def facts(self) -> dict[str, str]:
        """What it says."""
        return {key: self.cells[key] for key in SHOWN if self.cells.get(key)}

    @property
    def table(self) -> str:
        """Where this project has the table that it is of."""
        return SEGMENTATION_TABLE if "case" in self.cells else TABLE

    def beside(self, said: Mapping[str, Any]) -> list[str]:
        """Return the columns of its cells of which nothing is said; empty cells say nothing themselves."""
        return [key for key, text in self.cells.items() if text and key not in said]

    def differing(self, said: Mapping[str, Any], where: str) -> str | None:
        """Return the first cell of which something else is said, and what."""
        for key, text in self.cells.items():
            if text and key in said and not same(text, said[key]):
                return f"{key} is {text} in the row, {shown(said[key]) or 'nothing'} in {where}"
        return None


def read_row(path: Path, name: str, line: int) -> Row:
    """Return a row of a file by line. Raises PipelineError for a line that is none, and for other tables."""
    rows = read_table(path, KEYS, MEND)
    if line not in rows:
        raise PipelineError(
            f"{name}: line {line} is no row of it; those are {min(rows)} to {max(rows)}"
            if rows
            else f"{name}: has no row"
        )
    return Row(name, line, rows[line])


def find_row(data: bytes, name: str, variant: str, seed: str, dataset: str) -> Row | None:
    """Return the first row of a table that is of this training and dataset."""
    wanted = (variant, seed, dataset)
    return next((Row(name, n, cells) for n, cells in _rows(data) if tuple(map(cells.get, KEYS)) == wanted), None)


def lines_of(data: bytes, md5: str, training: tuple[str, str] | None) -> list[int]:
    """Return the lines of a table's rows of a model; in a table that names none, those of a training, if any."""

    def is_of(cells: Mapping[str, str]) -> bool:
        named = cells.get("md5_model")
        return named == md5 if named is not None else (cells.get("variant"), cells.get("seed")) == training

    return [line for line, cells in _rows(data) if is_of(cells)]


def find_same(data: bytes, row: Row) -> dict[str, str] | None:
    """Return the cells of a table's row of the same training, dataset, case, organ and model."""
    keys = [key for key in (*KEYS, "case", "organ", "md5_model") if key in row.cells]
    alike = (cells for _, cells in _rows(data) if all(cells.get(key) == row.cells[key] for key in keys))
    return next(alike, None)


def _rows(data: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the whole rows of a table by line, whatever became of the others."""
    reader = csv.DictReader(io.StringIO(data.decode("utf-8", errors="replace"), newline=""))
    for cells in reader:
        if None not in cells and None not in cells.values():
            yield reader.line_num, cells
