"""What there is to predict: the images and volumes of a file or a folder, found by name and read one at a time."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mosaic_pipeline.arrays import open_npz
from mosaic_pipeline.data.own import dicom, image, nifti
from mosaic_pipeline.data.own.files import begins_like_dicom, read_picture
from mosaic_pipeline.data.own.picture import Picture, check_size, whole_span
from mosaic_pipeline.digest import md5_file, md5_text
from mosaic_pipeline.errors import PipelineError, few

ARRAYS = (".npz", ".npy")
SUFFIXES = {2: (*image.SUFFIXES, *ARRAYS), 3: (".tif", ".tiff", *nifti.SUFFIXES, *ARRAYS)}
BLOCK_BYTES = 16 << 20


@dataclass(frozen=True)
class Place:
    """A file, or a folder with a DICOM series: its path, and what it is called in the table."""

    path: Path
    name: str

    @property
    def is_npz(self) -> bool:
        """Whether it may hold many images."""
        return self.path.suffix.lower() == ".npz" and self.path.is_file()

    def digest(self) -> str:
        """Return the md5 of the file, or of the names and md5s of a folder's. Raises OSError."""
        if not self.path.is_dir():
            return md5_file(self.path)
        files = sorted(file for file in self.path.iterdir() if file.is_file())
        return md5_text("".join(f"{md5_file(file)}  {os.fsencode(file.name)!r}\n" for file in files))


def find_places(given: Path, dimension: int) -> tuple[list[Place], list[str]]:
    """Return what a path holds that may be an image (a volume, for `dimension` 3), sorted, and names passed over.

    A file is taken as it is. Of a folder and all in it those files are taken that are images by name or by their first
    bytes; hidden ones are not looked at, and folders that are links are passed over. A folder with several DICOM files
    is the series of one volume; one that must not be read is taken too, so that it is an error and no loss. Raises
    PipelineError if there is nothing there, or no image.
    """
    if not given.exists():
        raise PipelineError(f"{given}: no such file or folder")
    if given.is_file():
        return [Place(given, _shown(given.name))], []
    places: list[Path] = []
    passed: list[str] = []
    dicoms: dict[Path, list[Path]] = {}
    for file in _below(given, places, passed):
        if _is_dicom(file):
            dicoms.setdefault(file.parent, []).append(file)
        elif file.name.lower().endswith(SUFFIXES[dimension]):
            places.append(file)
        else:
            passed.append(_shown(file.relative_to(given).as_posix()))
    for folder, files in dicoms.items():
        places += [folder] if dimension == 3 and len(files) > 1 else files
    if not places:
        there = f" ({few(passed)} is there)" if passed else ""
        raise PipelineError(f"{given}: no {'image' if dimension == 2 else 'volume'} is in it{there}")
    named = ((path, "." if path == given else path.relative_to(given).as_posix()) for path in sorted(places))
    return [Place(path, _shown(name)) for path, name in named], passed


def _below(given: Path, unreadable: list[Path], passed: list[str]) -> Iterator[Path]:
    """Yield the files of a folder and of those in it, in order; hidden ones are left out."""

    def refused(error: OSError) -> None:
        unreadable.append(Path(error.filename))

    for folder, folders, files in os.walk(given, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = [name for name in folders if Path(folder, name).is_symlink()]
        passed += [_shown(Path(folder, name).relative_to(given).as_posix()) + "/" for name in links]
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


def _shown(name: str) -> str:
    """Return a name as a table can hold it: what is no character, or ends a line, is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def count(place: Place, array: str | None) -> int:
    """Return how many images a place holds, as far as can be said before it is read."""
    if not place.is_npz:
        return 1
    try:
        with open_npz(place.path) as npz:
            return sum(npz.header(name).shape[0] for name in _arrays(npz.names, array))
    except Exception:  # said when it is read
        return 1


def read_place(place: Place, dimension: int, array: str | None) -> Iterator[tuple[str, Picture]]:
    """Yield the images of a place, with what tells them apart: `<array>[<row>]` in an npz, else nothing.

    `array` names the one of an npz that is meant, None all that hold images by their names. Raises whatever reading
    does.
    """
    if not place.is_npz:
        yield "", read_picture(place.path, dimension)
        return
    with open_npz(place.path) as npz:
        for name in _arrays(npz.names, array):
            header = npz.header(name)
            check_size(header.shape[1:])
            if not header.shape[0]:
                raise ValueError(f"{name} holds no image")
            row = 0
            whole = header.fortran_order and len(header.shape) > 1
            for block in [npz.read(name)] if whole else npz.blocks(name, BLOCK_BYTES):
                if block.dtype.kind not in "biuf":
                    raise ValueError(f"{name} holds {block.dtype}, not numbers")
                for values in block:
                    yield f"{name}[{row}]", Picture(values, (1.0,) * dimension, whole_span(values))
                    row += 1


def _arrays(names: list[str], array: str | None) -> list[str]:
    if array is not None:
        if array not in names:
            raise ValueError(f"holds no array {array}, but {few(names, 10) or 'nothing'}")
        return [array]
    found = [name for name in names if name.lower() in ("images", "x") or name.lower().endswith("_images")]
    if not found:
        raise ValueError(f"no array in it is called images, or ends so; it holds {few(names, 10) or 'nothing'}")
    return found


def _is_dicom(file: Path) -> bool:
    if file.name.lower().endswith(dicom.SUFFIXES):
        return True
    if file.suffix and not file.suffix[1:].isdigit():  # names such as 1.2.840.113 end in a number
        return False
    try:
        return begins_like_dicom(file)
    except OSError:
        return False
