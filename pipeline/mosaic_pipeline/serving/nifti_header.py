"""What a NIfTI file that was sent says to hold, read from no more of it than comes before its voxels.

A library reads a header with its extensions, whose size the file says: 30 kB of gzip can hold 30 MB of one.
"""

import gzip
from io import BytesIO
from pathlib import Path

from mosaic_pipeline.data.own.extra import needs

MOST_BEFORE = 1_000_000  # bytes before the voxels; a header has 352 or 544, extensions are a page of text


def nifti_shape(file: Path) -> tuple[int, ...]:
    """Return the shape, and as its last number the eight bytes that a voxel has, which most become.

    Raises ValueError for a file that is no NIfTI, and if the voxels begin late or an extension goes on beyond that.
    """
    with needs("nibabel", "NIfTI files"):
        from nibabel import Nifti1Image, Nifti2Image
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
        before = stream.read(MOST_BEFORE)
    kinds = [kind.header_class for kind in (Nifti1Image, Nifti2Image)]
    kind = next((each for each in kinds if each.may_contain_header(before)), None)
    if kind is None:
        raise ValueError("holds no NIfTI by its first bytes")
    header = kind.from_fileobj(BytesIO(before[: kind.sizeof_hdr]))
    offset = header["vox_offset"].item()
    if not offset <= MOST_BEFORE:  # which may be no number
        raise ValueError(f"its voxels begin beyond {MOST_BEFORE // 10**6} MB")
    if before[kind.sizeof_hdr : kind.sizeof_hdr + 1] > b"\0":
        _check_extensions(before[kind.sizeof_hdr + 4 :], int(offset) - kind.sizeof_hdr - 4, header.endianness)
    return (*header.get_data_shape(), max(1, header.get_data_dtype().itemsize // 8))


def _check_extensions(content: bytes, left: int, order: str) -> None:
    """Go from one to the next as nibabel does. Raises ValueError if one is not within the bytes that are left."""
    place = 0
    while left >= 16 or left < 0:
        size = int.from_bytes(content[place : place + 4], "little" if order == "<" else "big", signed=True)
        if not 16 <= size <= left:
            raise ValueError("its extensions go beyond where its voxels begin")
        place, left = place + size, left - size
