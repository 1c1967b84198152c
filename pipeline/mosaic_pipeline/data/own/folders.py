"""A folder with a sub-folder for each class, or one for each split with those in it."""

from collections.abc import Iterator
from pathlib import Path

from mosaic_pipeline.data.own.files import read_picture
from mosaic_pipeline.data.own.labels import class_index
from mosaic_pipeline.data.own.source import Case, Source
from mosaic_pipeline.data.own.split import SPLIT_OF
from mosaic_pipeline.own import OwnSource

# What systems leave in folders, besides hidden files.
_LEFT = ("thumbs.db", "desktop.ini", "__macosx")


def read_folders(folder: Path, own: OwnSource) -> Source:
    """Return the cases of a folder, by the names of their files. Raises ValueError, and OSError."""
    names = [entry.name for entry in _entries(folder)]
    if not names:
        raise ValueError("an empty folder, without a class")
    by_split = all(name.strip().casefold() in SPLIT_OF for name in names)
    if by_split and not all(_is_class(name, own) for name in names):
        parts: list[tuple[str | None, Path]] = [(SPLIT_OF[name.strip().casefold()], folder / name) for name in names]
        if len({split for split, _ in parts}) < len(parts):
            raise ValueError(f"one split is there twice: {', '.join(names)}")
    else:
        parts = [(None, folder)]
    cases = [case for split, part in parts for case in _cases(folder, part, split, own)]
    return Source(cases, (read_picture(folder / case.name, own.dimension) for case in cases))


def _cases(folder: Path, part: Path, split: str | None, own: OwnSource) -> Iterator[Case]:
    for of_class in _entries(part):
        here = of_class.relative_to(folder).as_posix()
        if not of_class.is_dir():
            raise ValueError(f"{here} is a file, where there is a folder for each class")
        try:
            label = class_index(of_class.name, own.classes)
        except ValueError:
            raise ValueError(f"folder {here} is none of the classes {', '.join(own.classes)}") from None
        for file in _entries(of_class):
            name = file.relative_to(folder).as_posix()
            yield Case(place=name, name=name, label=(label,), split=split)


def _entries(folder: Path) -> list[Path]:
    found = [entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.name.lower() not in _LEFT]
    return sorted(found, key=lambda entry: entry.name)


def _is_class(name: str, own: OwnSource) -> bool:
    try:
        class_index(name, own.classes)
    except ValueError:
        return False
    return True
