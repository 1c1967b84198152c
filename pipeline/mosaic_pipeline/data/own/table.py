"""A folder of images with a CSV that says what is on them."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from mosaic_pipeline.data.own.files import read_picture
from mosaic_pipeline.data.own.labels import class_index, yes_or_no
from mosaic_pipeline.data.own.source import Case, Source
from mosaic_pipeline.data.own.split import split_named
from mosaic_pipeline.errors import few
from mosaic_pipeline.own import OwnSource
from mosaic_pipeline.reading import read_table

NAMED = 12  # columns that a sentence names one by one

# Other names of columns that say the split or the patient, without capitals and signs.
_ALIKE = {
    "split": re.compile("splits?|folds?|set|subset|partition|datasplit"),
    "patient": re.compile("(patient|subject|case|person|participant)s?(id|no|nr|number|name|code|key|uid)?|pid|mrn"),
}


def read_csv(folder: Path, own: OwnSource, where: str) -> Source:
    """Return the cases of a folder's CSV, in its order; `where` is what errors call the declaration.

    Raises PipelineError for the CSV, ValueError for a row of it.
    """
    table = folder / own.csv
    columns = (own.columns.file, *own.label_columns)
    named = [column for column in (own.columns.split, own.columns.patient) if column]
    rows = read_table(table, (*columns, *named), mend=f"correct it, or {where}.columns")
    if not rows:
        raise ValueError(f"{own.csv} has no row below its header")
    others = [column for column in next(iter(rows.values())) if column not in (*columns, *named)]
    split = _column("split", own.columns.split, others, own.csv)
    patient = _column("patient", own.columns.patient, others, own.csv)
    unused = [column for column in others if column not in (split, patient)]
    cases: list[Case] = []
    first_line: dict[str, int] = {}
    for line, row in rows.items():
        try:
            name = _inside(folder, row[own.columns.file])
            if name in first_line:
                raise ValueError(f"{name} stands in line {first_line[name]} too")
            first_line[name] = line
            _check_there(folder, name)
            cases.append(
                Case(
                    place=f"{name} ({own.csv}, line {line})",
                    name=name,
                    label=_label(row, own),
                    split=split_named(row[split]) if split else None,
                    patient=_patient(row[patient]) if patient else None,
                )
            )
        except ValueError as error:
            raise ValueError(f"{own.csv}, line {line}: {error}") from None
    used = [f"{what} from the column {column}" for what, column in (("split", split), ("patients", patient)) if column]
    notes: tuple[str, ...] = (f"In {own.csv}: {', '.join(used)}.",) if used else ()
    notes += (f"Columns that were not used: {few(unused, NAMED)}.",) if unused else ()
    return Source(cases, (read_picture(folder / case.name, own.dimension) for case in cases), notes)


def _column(what: str, declared: str | None, others: Sequence[str], csv: str) -> str | None:
    """Return the column that says it: the one that was declared, or that of this name. Raises ValueError in doubt."""
    if declared is not None:
        return declared or None
    found = [column for column in others if column.strip().casefold() == what]
    if not found:
        found = [column for column in others if _ALIKE[what].fullmatch(re.sub(r"[\W_]", "", column.casefold()))]
    elif len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{csv}: column {found[0]} may say the {what}; if so, declare `columns.{what}: {found[0]}`, else "
            f'`columns.{what}: ""`'
        )
    return None


def _inside(folder: Path, cell: str) -> str:
    """Return a path from the folder on, with slashes. Raises ValueError for one that leads out of it."""
    as_it_is = PurePosixPath(cell.strip())  # in which : and \\ are letters
    if as_it_is.parts and not as_it_is.root and ".." not in as_it_is.parts and (folder / as_it_is).exists():
        return as_it_is.as_posix()
    path = PureWindowsPath(cell.strip())  # which knows both signs between folders
    if not path.parts:
        raise ValueError("no file")
    if path.drive or path.root or ".." in path.parts:
        raise ValueError(f"{cell.strip()} leads out of the folder; files are named from the folder on")
    return "/".join(path.parts)


def _check_there(folder: Path, name: str) -> None:
    if not (folder / name).exists():
        alike = sorted(file.name for file in (folder / name).parent.glob(f"{PurePosixPath(name).name}.*"))
        hint = f"; is {alike[0]} meant?" if alike else ""
        raise ValueError(f"{name}: no such file{hint}")


def _label(row: dict[str, str], own: OwnSource) -> tuple[int, ...]:
    cells = [row[column] for column in own.label_columns]
    if own.multi_label:
        return tuple(yes_or_no(cell, column) for cell, column in zip(cells, own.label_columns, strict=True))
    return (class_index(cells[0], own.classes),)


def _patient(cell: str) -> str:
    if not cell.strip():
        raise ValueError("no patient")
    return cell.strip()
