"""Published results: a table that a user keeps, in which nothing may be passed over or misread."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.reading import number, read_table, reading

COLUMNS = ("dataset", "method", "input_size", "auc", "acc", "citation")
# Rows that hold a mean over datasets, by their dimension; None is both.
MEANS = {2: "mean_2d12", 3: "mean_3d6", None: "mean_all18"}
MEND = "correct the file, or report.published in params.yaml"


@dataclass(frozen=True)
class Published:
    """A result from the literature; values are fractions, None where the source gives none."""

    dataset: str
    method: str
    input_size: str
    acc: float | None
    auc: float | None
    source: str


def read_published(path: Path) -> tuple[Published, ...]:
    """Read a CSV file with COLUMNS and, if there are any, notes: a row for each dataset, method and input size.

    Datasets are named as in MedMNIST, in any case, or by MEANS. Raises PipelineError for the first thing that is not as
    it should be.
    """
    rows = read_table(path, COLUMNS, MEND)
    with reading(path, MEND):
        if not rows:
            raise ValueError("holds no result")
        seen: dict[tuple[str, str, str], int] = {}
        results = []
        for line, row in rows.items():
            try:
                result = _published(row)
            except ValueError as error:
                raise ValueError(f"line {line}: {error}") from None
            first = seen.setdefault((result.dataset, result.method, result.input_size), line)
            if first != line:
                raise ValueError(f"line {line}: the same dataset, method and input size as line {first}")
            results.append(result)
        return tuple(results)


def _published(row: Mapping[str, str]) -> Published:
    texts = {column: text.strip() for column, text in row.items()}
    for column in ("dataset", "method", "input_size", "citation"):
        if not texts[column]:
            raise ValueError(f"no {column}")
    acc, auc = _share(texts, "acc"), _share(texts, "auc")
    if acc is auc is None:
        raise ValueError("neither acc nor auc")
    notes = texts.get("notes")
    return Published(
        dataset=_known(texts["dataset"]),
        method=texts["method"],
        input_size=texts["input_size"],
        acc=acc,
        auc=auc,
        source=texts["citation"] + (f" ({notes})" if notes else ""),
    )


def _share(texts: Mapping[str, str], column: str) -> float | None:
    text = texts[column]
    if not text:
        return None
    try:
        value = number(text)
    except ValueError:
        raise ValueError(f"{column} = {text}: not a number like 0.841") from None
    if not 0 <= value <= 1:
        hint = "; percent must be divided by 100" if 1 < value <= 100 else ""
        raise ValueError(f"{column} = {text}: not a share from 0 to 1{hint}")
    return value


def _known(dataset: str) -> str:
    name, known = dataset.lower(), [*MEDMNIST, *MEANS.values()]
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"the means are {', '.join(MEANS.values())}"
        raise ValueError(f"dataset = {dataset}: none of the {len(MEDMNIST)} datasets; {hint}")
    return name
