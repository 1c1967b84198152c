"""Writing npz files that are the same bytes on every machine."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.typing import DTypeLike

from mosaic_pipeline.atomic import atomic


@dataclass(frozen=True)
class Blocks:
    """An array that comes in consecutive blocks of rows in C order, so that it need not fit into memory."""

    shape: tuple[int, ...]
    dtype: DTypeLike
    blocks: Iterable[np.ndarray]


def write_npz(path: Path, arrays: Mapping[str, np.ndarray | Blocks]) -> None:
    """Write arrays by name, atomically.

    Not by `numpy.savez`, whose zip headers differ between Python versions; uncompressed, because zlib's output does.
    """
    with atomic(path) as temporary, ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            member, start = ZipInfo(f"{name}.npy"), BytesIO()  # dated 1980
            member.create_system = 3  # Unix, also where it is not
            if not isinstance(array, Blocks):
                np.lib.format.write_array(start, array, allow_pickle=False)
                archive.writestr(member, start.getbuffer())
                continue
            np.lib.format.write_array_header_1_0(start, _description(array))
            # By which the archive knows large members beforehand.
            member.file_size = len(start.getbuffer()) + prod(array.shape) * np.dtype(array.dtype).itemsize
            with archive.open(member, "w") as file:
                file.write(start.getbuffer())
                for block in array.blocks:
                    file.write(block.data)


def _description(array: Blocks) -> dict:
    descr = np.lib.format.dtype_to_descr(np.dtype(array.dtype))
    return {"descr": descr, "fortran_order": False, "shape": array.shape}
