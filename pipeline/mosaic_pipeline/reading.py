"""Files that a stage reads: whatever is wrong with one becomes one line that names it and says the way out."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, TypeVar

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import maker

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

T = TypeVar("T", bound="BaseModel")

LONGEST = 200  # characters of what a parser says


@contextmanager
def reading(path: Path, mend: str | None = None) -> Iterator[None]:
    """Turn whatever reading a file raises into a PipelineError: the file, what is wrong with it, and how to `mend` it.

    Damaged bytes reach the parsers of zip, npy, JSON and YAML in more ways than anyone lists, so every exception
    counts; the body must do nothing but read and check. Without `mend` the stage that writes the file makes it anew.
    """
    try:
        yield
    except (PipelineError, MemoryError):
        raise
    except Exception as error:
        verb = "makes it" if isinstance(error, FileNotFoundError) else "mends that"
        raise PipelineError(f"{path}: {reason(error)}; {mend or f'`{maker(path)}` {verb}'}") from None


def read_text(path: Path, mend: str | None = None) -> str:
    """Return a file's text, which must be UTF-8."""
    with reading(path, mend):
        return path.read_text(encoding="utf-8")


def read_tree(path: Path, kind: type["BaseModel"], mend: str | None = None) -> dict[str, Any]:
    """Return a JSON file as it stands, after holding it against a model: types are exact, numbers are finite."""
    text = read_text(path, mend)
    with reading(path, mend):
        tree = _finite_json(text)
        _checked(kind, text)
        return tree


def read_record(path: Path, kind: type[T], mend: str | None = None) -> T:
    """Return a JSON file as a model: types are exact, numbers are finite, keys that the model lacks are ignored."""
    text = read_text(path, mend)
    with reading(path, mend):
        _finite_json(text)
        return _checked(kind, text)


def read_table(path: Path, columns: Sequence[str], mend: str | None = None) -> dict[int, dict[str, str]]:
    """Return the rows of a CSV file by line number.

    It must have a header with at least these columns, each once, and as many cells in every row. A user's file, which
    comes with a `mend` of its own, may begin with a spreadsheet's byte-order mark and end without a line end.
    """
    with reading(path, mend):
        text = path.read_bytes().decode("utf-8-sig" if mend else "utf-8")
        if text and not (mend or text.endswith("\n")):
            raise ValueError("ends within a line")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(reader, [])
        _check_header(header, columns)
        lines = [(reader.line_num, row) for row in reader if row]
        for line, row in lines:
            if len(row) != len(header):
                raise ValueError(f"line {line} has {len(row)} cells, the header {len(header)}")
        return {line: dict(zip(header, row, strict=True)) for line, row in lines}


def number(text: str) -> float:
    """Return a finite number, nan for an empty cell. Raises ValueError for anything else."""
    value = float(text) if text else math.nan
    if text and not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def read_yaml(path: Path) -> Any:
    """Read a YAML file that a stage writes. Raises PipelineError, naming the stage, if it is missing or not YAML."""
    import yaml

    text = read_text(path)
    with reading(path):
        try:
            return yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
            raise ValueError(f"not valid YAML ({' '.join(str(error).split())})") from None


def first_problem(error: "ValidationError") -> str:
    """Return the first thing that a model refuses: key, reason and, if it is short, the value."""
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"]))
    said = problem["msg"].removeprefix("Value error, ")
    value = problem["input"]
    found = f" = {value!r}" if isinstance(value, str | int | float) and len(repr(value)) <= 40 else ""
    return f"{where}{found}: {said}" if where else said


def _check_header(header: list[str], columns: Sequence[str]) -> None:
    if not header:
        raise ValueError("empty, without a header")
    for sign, said in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 < len(columns) and sign in header[0]:
            raise ValueError(f"separated by {said}, not by commas")
    if missing := [column for column in columns if column not in header]:
        there = shorten(", ".join(header), LONGEST, placeholder=" ...")
        raise ValueError(f"no column {', '.join(missing)} among {there}")
    if twice := [column for column in dict.fromkeys(header) if header.count(column) > 1]:
        raise ValueError(f"column {twice[0]} is there twice")


def _finite_json(text: str) -> Any:
    return json.loads(text, parse_constant=_not_finite, parse_float=_finite)


def _not_finite(text: str) -> float:
    raise ValueError(f"{text} is not a finite number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _not_finite(text)


def _checked(kind: type[T], text: str) -> T:
    from pydantic import ValidationError

    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None


def reason(error: Exception) -> str:
    """Say in one line what is wrong with a file."""
    known = {
        FileNotFoundError: "no such file",
        IsADirectoryError: "a folder, not a file",
        NotADirectoryError: "what should be its folder is a file",
        PermissionError: "permission denied",
        UnicodeDecodeError: "not UTF-8",
        json.JSONDecodeError: "not valid JSON",
        RecursionError: "nested too deeply",
    }
    for kind, said in known.items():
        if isinstance(error, kind):
            detail = f" ({' '.join(str(error).split())})" if isinstance(error, ValueError) else ""
            return said + detail
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError):
        return f"no {error.args[0]}"
    return shorten(str(error), LONGEST, placeholder=" ...") or type(error).__name__
