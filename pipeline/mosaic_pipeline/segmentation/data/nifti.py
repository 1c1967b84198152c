"""Scans and label maps in NIfTI files: read in RAS+, written back on the very grid that the scan's file has.

Axes are only swapped and flipped, so that what is written for a scan lies on it voxel by voxel. Integers stay integers:
a scan of 512 x 512 x 300 is 160 MB as int16, and would be 630 MB as float64.
"""

import gzip
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import nibabel
import numpy as np
from nibabel.orientations import aff2axcodes, apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from numpy.typing import NDArray

from mosaic_pipeline.atomic import atomic
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.reading import reading

if TYPE_CHECKING:
    from io import IOBase

SUFFIXES = (".nii.gz", ".nii")

MOST_VOXELS = 1 << 30  # a file that says more was made to fill memory, or is damaged
# mm by which image and label map may differ in any entry of their affines: headers keep float32.
SAME_PLACE = 1e-3
OBLIQUE = 15.0  # degrees off the nearest axis from which on slices are no axial ones
SHEAR = 0.1  # degrees by which two axes may miss the right angle, for having been computed

_FETCH = "fetch it again, or leave it out"
_RAS = np.array([[0, 1], [1, 1], [2, 1]])
_HEADER = {348: nibabel.Nifti1Image, 540: nibabel.Nifti2Image}  # by the size of the header, its first value
# What is found under the name of a scan, by its first bytes.
_NO_SCAN = {
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; `git lfs pull` fetches it",
    b"PK\x03\x04": "a zip archive; unpack it",
    b"<": "a web page, not a scan: the download was refused; log in and fetch it again",
}

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # on headers that it mends


@dataclass(frozen=True)
class Stored:
    """What the file of a scan says of its grid: enough to write a label map that lies on it.

    `shape` is the file's own, with the axes of length 1 that some have beyond the third; `header` has its codes,
    quaternion, zooms and units; `kind` is nibabel's class, NIfTI-1 or NIfTI-2.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    axes: str
    qform_code: int
    sform_code: int
    header: Any
    kind: type


@dataclass(frozen=True)
class Scan:
    """One volume [X,Y,Z] in RAS+: along its axes to the right, forwards and upwards, as near as axes can be.

    `affine` [4,4] leads from these voxels to mm, `spacing` is their size in mm. `warnings` are what whoever reads them
    should know, in phrases without the file's name.
    """

    voxels: NDArray
    affine: NDArray[np.float64]
    spacing: tuple[float, float, float]
    stored: Stored
    warnings: tuple[str, ...] = ()


def read_image(path: Path) -> Scan:
    """Return a scan with its values as stored, float32 where they are scaled. Raises PipelineError, in one line."""
    path = Path(path)
    with reading(path, _FETCH):
        scan = _read(path)
        values = scan.voxels
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise PipelineError(f"{path}: {_no_numbers(values)}; give them the value that is outside the body")
        return scan


def read_labels(path: Path, like: Scan | None = None) -> NDArray[np.integer]:
    """Return the label ids [X,Y,Z] of a file in RAS+; they must lie on the grid of the scan that they are `like`.

    Whole numbers, in the smallest type that holds them. Raises PipelineError, in one line.
    """
    return read_label_map(path, like)[0]


def read_label_map(path: Path, like: Scan | None = None) -> tuple[NDArray[np.integer], tuple[str, ...]]:
    """Return what `read_labels` does, and what there is to warn of."""
    path = Path(path)
    with reading(path, _FETCH):
        scan = _read(path)
        if like is not None:
            _check_place(path, scan, like)
        labels, warnings = _whole(path, scan.voxels)
        return labels, warnings


def write_labels(path: Path, labels: NDArray[np.integer], scan: Scan) -> None:
    """Write label ids [X,Y,Z] in RAS+, 0 to 255, as uint8 on the grid of the scan's own file, atomically.

    Shape, affine, codes, zooms and units are the file's. Raises ValueError if the labels are none of this scan.
    """
    path = Path(path)
    if labels.shape != scan.voxels.shape:
        raise ValueError(f"labels {list(labels.shape)} are none of a scan {list(scan.voxels.shape)}")
    if labels.dtype.kind not in "iu" or (labels.size and not 0 <= labels.min() <= labels.max() <= 255):
        raise ValueError("labels are whole numbers from 0 to 255")
    stored = scan.stored
    turned = apply_orientation(labels.astype(np.uint8), ornt_transform(_RAS, io_orientation(stored.affine)))
    header = stored.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(None, None)
    header["cal_min"], header["cal_max"] = 0, 0  # the window for the scan's grey values
    header["intent_code"] = 0
    for free_text in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):  # which may name a patient
        if free_text in header:
            header[free_text] = b""
    header.extensions.clear()
    # Without an affine of ours the header keeps its own to the bit, and its codes, also where it has none.
    image = stored.kind(turned.reshape(stored.shape, order="F"), None, header)
    with atomic(path) as temporary, open(temporary, "wb") as file:
        if path.name.endswith(".gz"):
            # Neither a name nor a time in it: the same labels are the same bytes.
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
                packed.write(image.to_bytes())
        else:
            file.write(image.to_bytes())


def _read(path: Path) -> Scan:
    """Return what a file holds, turned, not yet looked at. Raises whatever nibabel does, and ValueError."""
    with _opened(path) as file:
        kind = _kind(file)
        image = kind.from_file_map({"image": nibabel.FileHolder(fileobj=cast("IOBase", file))}, mmap=False)
        shape = image.shape
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) != 3 or 1 in shape[:2]:
            what, way_out = ("several images", "give each its own file") if len(shape) > 3 else ("flat", "leave it out")
            raise PipelineError(f"{path}: {what}, {_size(image.shape)}, where one volume is meant; {way_out}")
        if not 0 < np.prod(shape, dtype=float) <= MOST_VOXELS:
            raise ValueError(f"its header says {_size(shape)} voxels")
        affine, placed = _affine(image)
        values = _values(image.dataobj).reshape(shape, order="F")
        while file.read(1 << 20):  # to the end, where a gzip file's check sum is
            pass
    orientation = io_orientation(affine)
    ras = affine @ inv_ornt_aff(orientation, shape)
    spacing = np.sqrt((ras[:3, :3] ** 2).sum(axis=0))
    codes = int(image.header["qform_code"]), int(image.header["sform_code"])
    stored = Stored(image.shape, affine, "".join(aff2axcodes(affine)), *codes, image.header, kind)
    return Scan(
        apply_orientation(values, orientation),
        ras,
        (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        stored,
        tuple(_on_axes(ras[:3, :3] / spacing, placed)),
    )


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with open(path, "rb") as raw:
        first = raw.read(64)
        raw.seek(0)
        if not first:
            raise ValueError("empty, without a byte")
        for start, what in _NO_SCAN.items():
            if first.lstrip().startswith(start):
                raise PipelineError(f"{path}: {what}")
        if not path.name.lower().endswith(".gz"):
            if first.startswith(b"\x1f\x8b"):
                raise PipelineError(f"{path}: compressed, which its name does not say; call it {path.name}.gz")
            yield raw
            return
        if not first.startswith(b"\x1f\x8b"):
            raise PipelineError(f"{path}: not compressed (gzip), which its name says; {_FETCH}")
        try:
            with gzip.open(raw) as unpacked:
                yield cast("IO[bytes]", unpacked)  # which typeshed's is but in name
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"truncated or damaged ({' '.join(str(error).split())})") from None


def _kind(file: IO[bytes]) -> type[nibabel.Nifti1Image]:
    header = file.read(max(_HEADER))
    file.seek(0)
    sizes = [int.from_bytes(header[:4], order) for order in ("little", "big")]
    size = next((size for size in sizes if size in _HEADER), None)
    if size is None:
        raise ValueError("no NIfTI file, for all its name")
    if len(header) < size:
        raise ValueError("truncated within its header")
    return _HEADER[size]


def _affine(image: Any) -> tuple[NDArray[np.float64], bool]:
    """Return where a file says that its voxels are, and whether it does. Raises ValueError if they span no space."""
    header = image.header
    placed = bool(header["qform_code"] > 0 or header["sform_code"] > 0)
    # Without a place the affine is made up, left-handed; the size of voxels holds all the same.
    affine = np.array(image.affine if placed else np.diag([*map(float, header.get_zooms()[:3]), 1.0]), np.float64)
    steps = affine[:3, :3]
    lengths = np.sqrt((steps**2).sum(axis=0))
    if not np.isfinite(affine).all() or not lengths.all() or abs(np.linalg.det(steps / lengths)) < 1e-3:
        raise ValueError("its affine spans no space: a voxel has no size, or two axes are one")
    return affine, placed


def _values(data: Any) -> NDArray:
    """Return the values of nibabel's proxy: integers as they are, scaled ones as float32."""
    if data.dtype.names or data.dtype.kind not in "iuf":
        raise ValueError(f"its values are {'colours' if data.dtype.names else data.dtype}, not grey")
    slope, inter = float(data.slope), float(data.inter)
    try:
        raw = data.get_unscaled()
    except OSError as error:
        raise (error if error.errno else ValueError("truncated: fewer voxels than its header says")) from None
    raw = np.asarray(raw, raw.dtype.newbyteorder("="))
    if (slope, inter) != (1.0, 0.0):
        # float32 holds 16 bits exactly; of longer ones the product alone is rounded.
        if raw.dtype.itemsize <= 2:
            raw = raw.astype(np.float32)
            raw *= np.float32(slope)
            raw += np.float32(inter)
        else:
            raw = raw * slope + inter
    with np.errstate(over="ignore"):
        return raw.astype(np.float32, copy=False) if raw.dtype.kind == "f" else raw


def _whole(path: Path, values: NDArray) -> tuple[NDArray[np.integer], tuple[str, ...]]:
    """Return labels as whole numbers of the smallest type, whatever type they are stored in."""
    warnings: tuple[str, ...] = ()
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise PipelineError(f"{path}: {_no_numbers(values)}; background is 0")
        fractional = values != np.rint(values)
        if fractional.any():
            raise PipelineError(
                f"{path}: labels between whole numbers, as {values[fractional][0]:g} (voxels: "
                f"{int(fractional.sum()):,}); label maps are resampled by nearest neighbour"
            )
        warnings = ("labels stored as floats",)
    least, most = (values.min(), values.max()) if values.size else (0, 0)
    smallest = np.result_type(np.min_scalar_type(int(least)), np.min_scalar_type(int(most)))
    return values.astype(smallest if smallest.kind in "iu" else np.int64, copy=False), warnings


def _check_place(path: Path, labels: Scan, image: Scan) -> None:
    """Hold a label map against the scan that it is of, both turned."""
    mine, its = labels.voxels.shape, image.voxels.shape
    if mine != its:
        raise PipelineError(f"{path}: {_size(mine)} voxels, but its image has {_size(its)}; {_FETCH}")
    apart = float(np.abs(labels.affine - image.affine).max())
    if apart > SAME_PLACE:
        raise PipelineError(
            f"{path}: lies elsewhere than its image, their affines differ by {apart:.3g}; if the voxels do match, "
            "copy the image's header to the label map"
        )


def _on_axes(cosines: NDArray[np.float64], placed: bool) -> Iterator[str]:
    if not placed:
        yield "no orientation in its header, taken as RAS"
    off = np.degrees(np.arccos(np.clip(np.diag(cosines), -1, 1))).max()
    if off > OBLIQUE:
        yield f"oblique, {off:.0f} degrees off the nearest axes; slices are taken as stored"
    sheared = max(abs(90 - np.degrees(np.arccos(np.clip(a @ b, -1, 1)))) for a, b in combinations(cosines.T, 2))
    if sheared > SHEAR:
        yield f"sheared, its axes {sheared:.2g} degrees off the right angle"


def _no_numbers(values: NDArray) -> str:
    return f"voxels that are no number (NaN or infinite): {values.size - int(np.isfinite(values).sum()):,}"


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{length:,}" for length in shape)
