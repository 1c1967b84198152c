"""A dataset of one's own as an npz in the official layout, and what was done to get there."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mosaic_pipeline.data.findings import Seen
from mosaic_pipeline.data.own.assign import assign, numbered, with_patients
from mosaic_pipeline.data.own.convert import convert
from mosaic_pipeline.data.own.folders import read_folders
from mosaic_pipeline.data.own.labels import check_classes
from mosaic_pipeline.data.own.notes import Notes
from mosaic_pipeline.data.own.npz import read_npz
from mosaic_pipeline.data.own.picture import refusing
from mosaic_pipeline.data.own.source import Source
from mosaic_pipeline.data.own.table import read_csv
from mosaic_pipeline.datasets import SPLITS
from mosaic_pipeline.layout import from_root
from mosaic_pipeline.npz import Blocks, write_npz
from mosaic_pipeline.own import OwnSource

BLOCK_BYTES = 16 << 20


def write_own(target: Path, name: str, own: OwnSource, size: int) -> list[str]:
    """Read a dataset as it is declared and write it at `size`, with its `notes`, which are returned.

    Images are read one at a time and kept on the disk until all are known, so that memory stays flat: only then can a
    split be drawn that puts no image into two of its parts. The same files give the same bytes. Raises PipelineError,
    which names the dataset and, where it is about one, the file and its row.
    """
    where = f"data.own.{name}"
    place = from_root(own.path)
    with refusing(f"{where}: {own.path}"):
        source = _read(place, own, where)
        labels = np.array([case.label for case in source.cases], np.int64)
        check_classes(labels, own)
    seen, notes = Seen(labels), Notes(own, size)
    patients: list[str | None] = []
    with tempfile.TemporaryFile(dir=target.parent, prefix=f".{target.name}.") as spool:
        for image in seen.watch(_converted(source, own, size, where, notes, patients)):
            spool.write(image.data)
        spool.flush()
        with refusing(f"{where}: {own.path}"):
            notes.refuse_ranges()
            cases, on_patients = with_patients(source.cases, patients, own)
            splits, on_split = assign(cases, seen, own)
        numbers = numbered(cases)
        said = [*source.notes, *notes.sentences(), *on_patients, *on_split]
        shape = (size,) * own.dimension + ((3,) if own.channels == 3 else ())
        arrays: dict[str, np.ndarray | Blocks] = {}
        for split in SPLITS:
            rows = [row for row, of in enumerate(splits) if of == split]
            arrays[f"{split}_images"] = Blocks((len(rows), *shape), np.uint8, _rows(spool, rows, shape))
            arrays[f"{split}_labels"] = labels[rows]
            if numbers is not None:
                arrays[f"{split}_patients"] = numbers[rows]
        write_npz(target, arrays | {"notes": np.array(said)})
    return said


def _read(place: Path, own: OwnSource, where: str) -> Source:
    """Return what lies there. Raises ValueError, and whatever a reader does."""
    if not place.exists():
        raise FileNotFoundError
    if own.kind == "npz":
        if place.is_dir():
            raise ValueError("a folder, but kind is npz, which is a file")
        return read_npz(place, own)
    if not place.is_dir():
        raise ValueError(f"a file, but kind is {own.kind}, which is a folder")
    return read_csv(place, own, where) if own.kind == "csv" else read_folders(place, own)


def _converted(
    source: Source, own: OwnSource, size: int, where: str, notes: Notes, patients: list[str | None]
) -> Iterator[NDArray[np.uint8]]:
    """Yield each image [1,...] as it is kept, after telling `notes` what was done and `patients` whose it is."""
    bar = tqdm(source.cases, desc=where, unit="img", dynamic_ncols=True, disable=not sys.stderr.isatty())
    for case in bar:
        with refusing(f"{where}: {case.place}"):
            image = convert(next(source.pictures), own, size)
        notes.saw(image)
        patients.append(image.patient)
        yield np.ascontiguousarray(image.image)[None]


def _rows(spool: IO[bytes], rows: Sequence[int], shape: tuple[int, ...]) -> Iterator[NDArray[np.uint8]]:
    """Yield rows of what was kept, in blocks."""
    kept = np.memmap(spool, np.uint8, mode="r").reshape(-1, *shape)
    count = max(1, BLOCK_BYTES // int(np.prod(shape)))
    for start in range(0, len(rows), count):
        yield kept[rows[start : start + count]]
