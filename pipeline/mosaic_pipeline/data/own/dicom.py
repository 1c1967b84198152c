"""DICOM, through pydicom: one image, a series as a folder with a file for each slice, or a volume in one file."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.data.own.axes import to_canonical
from mosaic_pipeline.data.own.extra import needs
from mosaic_pipeline.data.own.picture import Picture, check_size
from mosaic_pipeline.errors import install

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = (".dcm", ".dicom", ".ima")
# By which share the distances between slices may differ before one is taken to be missing.
UNEVEN = 0.1

# Degrees by which slices may be shifted against each other before it is worth a word.
TILTED = 1.0

# The parts of functional groups that say what is asked here; others tell of other images.
_MACROS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
)
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def read_dicom(place: Path, dimension: int) -> Picture:
    """Return the image, or for `dimension` 3 the volume, of a file or of a folder with the files of one series.

    Values are those after the file's slope and intercept; of 16 bits those have no span, since a scanner's unit ends
    somewhere within. Raises whatever pydicom does, and ValueError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on what a file should have, but is read without
        return _read(place, dimension)


def _read(place: Path, dimension: int) -> Picture:
    if place.is_dir():
        return _volume(_series(place), ("DICOM series",))
    frames = _frames(_opened(place))
    if dimension == 3:
        return _volume(frames, ("DICOM file with all slices",))
    if len(frames) > 1:
        raise ValueError(f"holds {len(frames)} images, where one is meant")
    values, span = frames[0].values()
    facts = "DICOM file", *frames[0].facts()
    return Picture(values, _pixel(frames[0]), span, frames[0].inverted, facts, _patient(frames))


class _Frame:
    """One slice: the file that it is in, which of its frames it is, and what the headers say of it."""

    def __init__(self, dataset: "Dataset", index: int | None) -> None:
        """Take frame `index` of a file, None for one that has a single one."""
        self._dataset, self._index = dataset, index
        self._groups = [dataset]
        for name, place in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", index or 0)):
            if len(found := dataset.get(name) or ()):
                parts = (found[place].get(macro) for macro in _MACROS)
                self._groups += [part[0] for part in parts if part]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value of the header, the frame's own before the file's."""
        return next((group[name].value for group in reversed(self._groups) if name in group), default)

    def of_file(self, name: str) -> Any:
        """Return a value of the file's header, whatever is said of single frames."""
        return self._dataset.get(name)

    def beside(self, other: "_Frame") -> bool:
        """Whether both are in one file."""
        return self._dataset is other._dataset

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self._dataset.Rows), int(self._dataset.Columns)

    @property
    def inverted(self) -> bool:
        """Whether the largest value is black."""
        return self._dataset.get("PhotometricInterpretation") == "MONOCHROME1"

    def facts(self) -> tuple[str, ...]:
        """Say what was done to the values."""
        facts = ["Inverted, the largest value being black (MONOCHROME1)"] if self.inverted else []
        if self._table:
            facts.append("Values looked up in the file's table (modality LUT)")
        elif self._scale() != (1.0, 0.0):
            facts.append("Slope and intercept of the file applied")
        return tuple(facts)

    @property
    def _table(self) -> Any:
        """What stands in place of slope and intercept, if it does."""
        return self._dataset.get("ModalityLUTSequence")

    def _scale(self) -> tuple[float, float]:
        return float(self.get("RescaleSlope") or 1), float(self.get("RescaleIntercept") or 0)

    def values(self) -> tuple[NDArray, tuple[float, float] | None]:
        """Return the values, after slope and intercept, and the smallest and largest that there may be, if known."""
        kind = self._dataset.get("PhotometricInterpretation", "")
        if kind.startswith("PALETTE"):
            raise ValueError(f"colours are {kind}; write it as grey or RGB")
        try:
            stored = self._dataset.pixel_array
        except RuntimeError as error:
            if "missing dependencies" not in str(error):
                raise
            name = self._dataset.file_meta.TransferSyntaxUID.name
            raise ValueError(f"compressed ({name}), for which a reader is missing; {install('volumes')}") from None
        stored = stored if self._index is None else stored[self._index]
        if self._table:
            from pydicom.pixels import apply_modality_lut

            return apply_modality_lut(stored, self._dataset), (
                0.0,
                float((1 << int(self._table[0].LUTDescriptor[2])) - 1),
            )
        bits, signed = int(self._dataset.BitsStored), bool(self._dataset.get("PixelRepresentation", 0))
        least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        slope, intercept = self._scale()
        if (slope, intercept) == (1, 0):
            return stored, (float(least), float(most))
        low, high = sorted((slope * least + intercept, slope * most + intercept))
        return stored * np.float32(slope) + np.float32(intercept), (low, high) if bits < 16 else None


def _opened(file: Path) -> "Dataset":
    with needs("pydicom", "DICOM files"):
        import pydicom
    try:
        dataset = pydicom.dcmread(file)
    except pydicom.errors.InvalidDicomError:
        raise ValueError(f"{file.name} is no DICOM file") from None
    if not all(name in dataset for name in ("PixelData", "Rows", "Columns")):
        raise ValueError(f"{file.name} holds no image")
    check_size((int(dataset.get("NumberOfFrames") or 1), int(dataset.Rows), int(dataset.Columns)))
    return dataset


def _frames(dataset: "Dataset") -> list[_Frame]:
    count = int(dataset.get("NumberOfFrames") or 1)
    return [_Frame(dataset, index if count > 1 else None) for index in range(count)]


def _series(folder: Path) -> list[_Frame]:
    files = sorted(file for file in folder.iterdir() if not file.name.startswith(".") and file.name != "DICOMDIR")
    if not files:
        raise ValueError("an empty folder, no DICOM series")
    if folders := [file.name for file in files if file.is_dir()]:
        raise ValueError(f"{folders[0]} in it is a folder; a DICOM series is a folder of files")
    frames = [frame for file in files for frame in _frames(_opened(file))]
    if len(series := {frame.of_file("SeriesInstanceUID") for frame in frames}) > 1:
        raise ValueError(f"holds {len(series)} DICOM series, where one volume is meant")
    return frames


def _volume(frames: list[_Frame], facts: tuple[str, ...]) -> Picture:
    """Put slices into their order in space, or without places into that of their numbers."""
    placed = all(frame.get("ImagePositionPatient") and frame.get("ImageOrientationPatient") for frame in frames)
    if placed:
        directions, frames, tilt = _in_space(frames)
        facts += tilt
    else:
        frames = _by_number(frames)
        thickness = frames[0].get("SpacingBetweenSlices") or frames[0].get("SliceThickness") or 1
        rows, columns = _pixel(frames[0])
        # As if axial, head last, so that it is not turned by a guess.
        directions = np.zeros((3, 3))
        directions[(2, 1, 0), (0, 1, 2)] = float(thickness), rows, columns
        facts += ("Without places of its slices, taken in the order of their numbers",)
    if len({frame.shape for frame in frames}) > 1:
        raise ValueError("its slices differ in size")
    check_size((len(frames), *frames[0].shape))
    read = [frame.values() for frame in frames]
    if len({values.shape for values, _ in read}) > 1:
        raise ValueError("its slices differ in their channels")
    if read[0][0].ndim != 2:
        raise ValueError("its slices have colours, but volumes have one channel")
    turned, spacing, turning = to_canonical(np.stack([values for values, _ in read]), directions)
    spans = [span for _, span in read if span is not None]
    span = (min(low for low, _ in spans), max(high for _, high in spans)) if len(spans) == len(read) else None
    facts = *facts, *frames[0].facts(), *turning
    return Picture(turned, spacing, span, frames[0].inverted, facts, _patient(frames))


def _patient(frames: Sequence[_Frame]) -> str | None:
    """Return whose the files are. Raises ValueError if they are of several patients."""
    patients = {str(frame.of_file("PatientID") or "").strip() for frame in frames}
    if len(patients) > 1:
        raise ValueError(f"its slices are of {len(patients)} patients (PatientID)")
    return patients.pop() or None


def _by_number(frames: list[_Frame]) -> list[_Frame]:
    """Return slices in the order of their files' numbers; frames of one file are in order."""
    if all(frame.beside(frames[0]) for frame in frames):
        return frames
    numbers = [frame.of_file("InstanceNumber") for frame in frames]
    if None in numbers or len(set(map(int, numbers))) < len(numbers):
        raise ValueError(
            "its slices have neither places (ImagePositionPatient, ImageOrientationPatient) nor a number each "
            "(InstanceNumber), so nothing says their order"
        )
    return [frames[index] for index in sorted(range(len(frames)), key=lambda index: int(numbers[index]))]


def _in_space(frames: Sequence[_Frame]) -> tuple[NDArray[np.float64], list[_Frame], tuple[str, ...]]:
    """Return the steps along the axes slice, row and column in RAS, the slices in order, and if they are shifted."""
    planes = np.array([frame.get("ImageOrientationPatient") for frame in frames], float)
    if np.abs(planes - planes[0]).max() > 1e-3:
        raise ValueError("its slices lie in different planes")
    along_columns, along_rows = planes[0, :3], planes[0, 3:]
    normal = np.cross(along_columns, along_rows)
    places = np.array([frame.get("ImagePositionPatient") for frame in frames], float)
    heights = [float(np.dot(place, normal)) for place in places]
    order = sorted(range(len(frames)), key=heights.__getitem__)
    steps = np.diff([heights[index] for index in order])
    if len(steps) and steps.min() < 1e-3:
        raise ValueError("two of its slices lie in the same place")
    if len(steps) and steps.max() - steps.min() > UNEVEN * steps.max():
        raise ValueError(f"its slices are {steps.min():g} to {steps.max():g} mm apart; is one missing?")
    rows, columns = _pixel(frames[0])
    step = float(steps.mean()) if len(steps) else 1.0
    lps = np.stack([normal * step, along_rows * rows, along_columns * columns], axis=1)
    across = places[order[-1]] - places[order[0]]
    rise = heights[order[-1]] - heights[order[0]]
    shift = float(np.linalg.norm(across - rise * normal))
    tilt = ("Slices shifted against each other (a tilted gantry), left as they are",)
    tilted = len(frames) > 1 and np.degrees(np.arctan2(shift, rise)) > TILTED
    return lps * _LPS_TO_RAS[:, None], [frames[index] for index in order], tilt if tilted else ()


def _pixel(frame: _Frame) -> tuple[float, float]:
    """Return the height and the width of a pixel."""
    rows, columns = frame.get("PixelSpacing") or frame.get("ImagerPixelSpacing") or (1, 1)
    return float(rows), float(columns)
