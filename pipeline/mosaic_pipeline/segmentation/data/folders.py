"""Which files of a folder are the cases of a set: as the challenges give them out, and as nnU-Net has them.

A case is a scan and its label map. Everything that is wrong with the names alone is found before any file is read.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.reading import read_record, read_table, reading, reason
from mosaic_pipeline.segmentation.data.nifti import SUFFIXES
from mosaic_pipeline.segmentation.datasets import LabelledSet

PATIENTS = "patients.csv"
DATASET_JSON = "dataset.json"

# Folders of images and of their label maps; what of the first has no second is said or, where that is usual, left out.
_FOLDERS = (
    *((f"images{part}", f"labels{part}") for part in ("Tr", "Va", "Val", "Ts")),
    *(("images", labels) for labels in ("labels", "masks", "segmentations")),
    *(("image", labels) for labels in ("label", "mask")),
    ("img", "label"),
)
_WITHOUT_LABELS = ("imagesVa", "imagesVal", "imagesTs")
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".rar", ".7z")
_CHANNEL = re.compile(r"_[0-9]{4}$")  # nnU-Net's number of an image of several, which a label map has not
_NUMBER = re.compile(r"[0-9]+$")


@dataclass(frozen=True)
class Files:
    """The files of one case, relative to the folder; the patient is the case itself unless `patients.csv` says it."""

    case: str
    patient: str
    image: str
    labels: str


@dataclass(frozen=True)
class Found:
    """The cases of a folder by their ids, what is wrong, a line each, and what was left out for a reason."""

    cases: tuple[Files, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_cases(folder: Path, dataset: LabelledSet | None = None) -> Found:
    """Return the cases of a folder. Raises PipelineError if it cannot be one of scans and label maps."""
    folder = Path(folder)
    problems: list[str] = []
    notes: list[str] = []
    pairs: dict[str, tuple[str, str]] = {}
    patterns = _patterns(folder, dataset)
    if patterns:
        _match(*_by_pattern(folder, *patterns), pairs, problems)
    else:
        for images, labels in _layout(folder, notes):
            _match(*_by_name(folder, images, labels), pairs, problems)
        problems += _listed(folder, set(pairs))
    if dataset and dataset.ids:
        pairs = _within(pairs, dataset.ids, problems, notes)
    if not pairs and not problems:
        raise PipelineError(f"{folder}: no image with a label map{''.join(f'; {note}' for note in notes)}")
    patients = _patients(folder, pairs, problems)
    cases = tuple(Files(case, patients.get(case, case), *pairs[case]) for case in sorted(pairs))
    return Found(cases, tuple(problems), tuple(notes))


def read_label_names(folder: Path) -> tuple[dict[str, int], tuple[int, ...]]:
    """Return organ -> label id as `dataset.json` has them, of either form, and the id to ignore. Raises PipelineError.

    The first form, the Decathlon's, says {"1": "liver"}, nnU-Net's second {"liver": 1}.
    """
    file = Path(folder) / DATASET_JSON
    mend = "say `labels` as organ: id in segmentation.data.custom"
    said = read_record(file, _Json, mend).labels
    with reading(file, mend):
        labels: dict[str, int] = {}
        for key, value in said.items():
            name, id_ = (value, int(key)) if isinstance(value, str) and key.isdecimal() else (key, value)
            if not isinstance(id_, int) or isinstance(id_, bool):
                raise ValueError(f"labels: {key}: {value!r} is not one id (regions of several are not read)")
            if name in labels:
                raise ValueError(f"labels: {name} stands there twice")
            labels[name] = id_
        ignore = labels.pop("ignore", None)
        return {name: id_ for name, id_ in labels.items() if id_ != 0}, () if ignore is None else (ignore,)


class _Json(BaseModel):
    labels: dict[str, Any] = {}
    training: list[Any] = []


def _patterns(folder: Path, dataset: LabelledSet | None) -> tuple[str, str] | None:
    """Return how a set's files are called, unless this folder has it otherwise, as nnU-Net's copies of a set do."""
    if dataset is None or dataset.images is None or dataset.labels_at is None:
        return None
    names = _entries(folder)  # says what is wrong with the folder itself
    patterns = dataset.images, dataset.labels_at
    usual = any(images in names for images, _ in _FOLDERS)
    return patterns if any(_by_pattern(folder, *patterns)) or not usual else None


def _layout(folder: Path, notes: list[str]) -> list[tuple[str, str]]:
    """Return the folders of images and label maps below this one. Raises PipelineError, which says what is there."""
    names = _entries(folder)
    if not names:
        raise PipelineError(f"{folder}: an empty folder; unpack the download there")
    pairs = [(images, labels) for images, labels in _FOLDERS if images in names and labels in names]
    alone = [images for images in _WITHOUT_LABELS if images in names and images not in dict(pairs)]
    notes += [f"{images} has no label maps, left out" for images in alone]
    if pairs:
        return pairs
    for images, labels in _FOLDERS:
        missing = images if labels in names else labels if images in names else None
        if missing and images not in _WITHOUT_LABELS:
            raise PipelineError(f"{folder}: no folder {missing} beside {images if missing == labels else labels}")
    raise PipelineError(f"{folder}: {_instead(folder, names)}")


def _instead(folder: Path, names: list[str]) -> str:
    """Say what is in a folder without images and labels."""
    if any(folder.name in pair and (folder.parent / pair[0]).is_dir() for pair in _FOLDERS):
        return f"one of the folders of a set; say {folder.parent}"
    if archives := [name for name in names if name.lower().endswith(_ARCHIVES)]:
        return f"holds {few(archives)}; unpack that and say the folder that it becomes"
    for name in names:
        if (folder / name).is_dir() and any(images in _entries(folder / name) for images, _ in _FOLDERS):
            return f"the images are in a folder of it; say {folder / name}"
    if any(name.lower().endswith((".dcm", ".ima")) for name in names):
        return "holds DICOM files; convert them to NIfTI first (dcm2niix), label maps too"
    if any(name.lower().endswith(SUFFIXES) for name in names):
        return "scans and label maps in one folder; put them in images/ and labels/, one case under one name"
    return f"no folders images/ and labels/ (or imagesTr/ and labelsTr/) among {few(names)}"


def _entries(folder: Path) -> list[str]:
    """Return the names in a folder, but for hidden ones. Raises PipelineError, if it is none."""
    try:
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except FileNotFoundError:
        raise PipelineError(f"{folder}: no such folder") from None
    except NotADirectoryError:
        raise PipelineError(f"{folder}: a file, where the folder of a set is meant") from None
    except OSError as error:
        raise PipelineError(f"{folder}: {reason(error)}; `ls -ld` shows who may read it") from None


def _stems(folder: Path, below: str) -> Iterator[tuple[str, str]]:
    """Yield each NIfTI file's name without suffix, and its path from the folder."""
    for name in _entries(folder / below):
        for suffix in SUFFIXES:
            if name.lower().endswith(suffix):
                yield name[: -len(suffix)], f"{below}/{name}" if below else name
                break


Listing = dict[str, list[str]]


def _by_name(folder: Path, images: str, labels: str) -> tuple[Listing, Listing]:
    """Return files by case: one name for both, or an image's with the number of a channel behind it."""
    of_labels: Listing = {}
    of_images: Listing = {}
    for stem, file in _stems(folder, labels):
        of_labels.setdefault(stem, []).append(file)
    for stem, file in _stems(folder, images):
        short = _CHANNEL.sub("", stem)
        case = short if stem not in of_labels and short in of_labels else stem
        of_images.setdefault(case, []).append(file)
    return of_images, of_labels


def _by_pattern(folder: Path, images: str, labels: str) -> tuple[Listing, Listing]:
    """Return files by case, where the set says how they are called."""
    found: tuple[Listing, Listing] = ({}, {})
    for pattern, files in zip((images, labels), found, strict=True):
        below, _, name = pattern.rpartition("/")
        before, case, after = name.partition("{case}")
        if not (folder / below).is_dir():
            continue
        for stem, file in _stems(folder, below):
            if not case and stem == name:
                files.setdefault(images.rpartition("/")[2], []).append(file)
            elif case and stem.startswith(before) and stem.endswith(after) and len(stem) > len(before) + len(after):
                files.setdefault(stem[len(before) : len(stem) - len(after)], []).append(file)
    return found


def _match(images: Listing, labels: Listing, pairs: dict[str, tuple[str, str]], problems: list[str]) -> None:
    """Add the cases that have one image and one label map; say of the others what is wrong."""
    for case in sorted({*images, *labels}):
        of_case, its_labels = images.get(case, []), labels.get(case, [])
        if not its_labels:
            way_out = "fetch that, or leave the image out"
            problems += [f"{file}: an image without a label map; {way_out}" for file in of_case]
        elif not of_case:
            problems += [f"{file}: a label map without an image; fetch that, or leave it out" for file in its_labels]
        elif len(of_case) > 1 or len(its_labels) > 1 or case in pairs:
            files = of_case if len(of_case) > 1 else its_labels if len(its_labels) > 1 else [pairs[case][0], *of_case]
            what = "label maps" if files is its_labels else "images"
            problems.append(f"{case}: {len(files)} {what} of one case, {few(files)}; leave one of them")
        else:
            pairs[case] = of_case[0], its_labels[0]


def _listed(folder: Path, cases: set[str]) -> Iterator[str]:
    """Say which cases `dataset.json` lists that are not there, of those that have no other line."""
    file = folder / DATASET_JSON
    if not file.is_file():
        return
    for entry in read_record(file, _Json, "fetch it again, or leave it out").training:
        image = entry.get("image") if isinstance(entry, dict) else None
        if isinstance(image, str) and not (folder / image).exists():
            # The Decathlon's lists name by their case what nnU-Net calls by case and channel.
            stem = next((Path(image).name[: -len(end)] for end in SUFFIXES if image.endswith(end)), image)
            if stem not in cases:
                yield f"{image}: {DATASET_JSON} lists it, but it is not there; fetch it"


def _within(
    pairs: Mapping[str, tuple[str, str]], ids: tuple[int, int], problems: list[str], notes: list[str]
) -> dict[str, tuple[str, str]]:
    """Return the cases whose numbers are the set's; a download may hold another set's beside them."""
    first, last = ids
    kept, left = {}, 0
    for case, files in pairs.items():
        number = _NUMBER.search(case)
        if number is None:
            problems.append(f"{files[0]}: no number at the end of its name, which says whether it is one of the set")
        elif first <= int(number.group()) <= last:
            kept[case] = files
        else:
            left += 1
    if left:
        notes.append(f"{left:,} with numbers beyond {first} to {last}, another set's, left out")
    return kept


def _patients(folder: Path, pairs: Mapping[str, Any], problems: list[str]) -> dict[str, str]:
    """Return whose case is whose, where a file says so."""
    file = folder / PATIENTS
    if not file.exists():
        return {}
    rows = read_table(file, ("case", "patient"), "write it as `case,patient`, a line for each case")
    patients = {row["case"].strip(): row["patient"].strip() for row in rows.values()}
    if missing := [case for case in sorted(pairs) if not patients.get(case)]:
        problems.append(f"{PATIENTS}: no patient for {few(missing)}; write whose each case is")
    return patients
