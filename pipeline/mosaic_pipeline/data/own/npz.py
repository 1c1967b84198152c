"""An npz in MedMNIST's layout, with the freedoms that people's files have; images are read in blocks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from numpy.typing import NDArray

from mosaic_pipeline.arrays import Damaged, Npz, open_npz
from mosaic_pipeline.data.own.labels import read_labels
from mosaic_pipeline.data.own.picture import Picture, check_size, whole_span
from mosaic_pipeline.data.own.source import Case, Source
from mosaic_pipeline.data.own.split import SPELLINGS
from mosaic_pipeline.own import OwnSource

BLOCK_BYTES = 16 << 20

# Names of images, labels and patients; capitals do not count.
_BY_SPLIT = (("{}_images", "{}_labels", "{}_patients"), ("x_{}", "y_{}", "patients_{}"))
_WHOLE = (("images", "labels", "patients"), ("x", "y", "patients"))


class _Part(NamedTuple):
    """Names of the arrays of one split, or of all that there is for split None."""

    split: str | None
    images: str
    labels: str
    patients: str | None


def read_npz(file: Path, own: OwnSource) -> Source:
    """Return the cases of an npz. Raises Damaged for a file that is none, ValueError for what its arrays hold."""
    with open_npz(file) as npz:
        parts = _parts(npz.names)
        cases = [case for part in parts for case in _cases(npz, part, own)]
        unused = [name for name in npz.names if not any(name in part for part in parts)]
    notes = (f"Arrays that were not used: {', '.join(sorted(unused))}.",) if unused else ()
    return Source(cases, _pictures(file, parts, own.dimension), notes)


def _parts(names: Sequence[str]) -> list[_Part]:
    known = {name.lower(): name for name in names}

    def part(split: str | None, images: str, labels: str, patients: str) -> list[_Part]:
        if images not in known:
            return []
        if labels not in known:
            raise ValueError(f"there is {known[images]}, but no {labels}")
        return [_Part(split, known[images], known[labels], known.get(patients))]

    for pattern in _BY_SPLIT:
        spelled = [(split, spelling) for split, spellings in SPELLINGS.items() for spelling in spellings]
        found = [
            each for split, spelling in spelled for each in part(split, *(name.format(spelling) for name in pattern))
        ]
        if len({each.split for each in found}) < len(found):
            raise ValueError(f"one split is there twice: {', '.join(each.images for each in found)}")
        if found:
            return found
    for pattern in _WHOLE:
        if found := part(None, *pattern):
            return found
    raise ValueError(f"neither train_images nor images is in it; it holds {', '.join(names) or 'nothing'}")


def _cases(npz: Npz, part: _Part, own: OwnSource) -> Iterator[Case]:
    shape = npz.header(part.images).shape
    if not shape or not shape[0]:
        raise ValueError(f"{part.images} is empty")
    check_size(shape[1:])
    try:
        labels = read_labels(npz.read(part.labels), own)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{part.labels}: {error}") from None
    patients = None if part.patients is None else _patients(part.patients, npz.read(part.patients))
    for name, rows in ((part.labels, labels), (part.patients, patients)):
        if rows is not None and len(rows) != shape[0]:
            raise ValueError(f"{name} has {len(rows):,} rows for {shape[0]:,} images")
    for row, label in enumerate(labels.tolist()):
        place = f"{part.images}[{row}]"
        patient = None if patients is None else patients[row]
        yield Case(place, name=place, label=tuple(label), split=part.split, patient=patient)


def _patients(name: str, found: NDArray) -> list[str]:
    if found.dtype.kind not in "iuUS" or found.size != len(found):
        raise ValueError(f"{name} holds {found.dtype} {list(found.shape)}, not a name or a whole number for each image")
    names = (found.astype(str) if found.dtype.kind == "S" else found).ravel().tolist()
    patients = [str(patient).strip() for patient in names]
    if "" in patients:
        raise ValueError(f"{name}: row {patients.index('')} has no patient")
    return patients


def _pictures(file: Path, parts: Sequence[_Part], dimension: int) -> Iterator[Picture]:
    with open_npz(file) as npz:
        for part in parts:
            header = npz.header(part.images)
            # In Fortran order the first image ends near the end of the array, so that there is no block of whole ones.
            whole = header.fortran_order and len(header.shape) > 1
            for block in [npz.read(part.images)] if whole else npz.blocks(part.images, BLOCK_BYTES):
                if block.dtype.kind not in "biuf":
                    raise Damaged(f"{part.images} is {header}, not numbers")
                fact = f"Array of {block.dtype.newbyteorder('=')}"
                yield from (Picture(each, (1.0,) * dimension, whole_span(each), facts=(fact,)) for each in block)
