"""Writing npz files that are the same bytes on every machine."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np

from pipeline.atomic import atomic


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, atomically.

    Not by `numpy.savez`, whose zip headers differ between Python versions; uncompressed, because zlib's output does.
    """
    with atomic(path) as temporary, ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            member, content = ZipInfo(f"{name}.npy"), BytesIO()  # dated 1980
            member.create_system = 3  # Unix, also where it is not
            np.lib.format.write_array(content, array, allow_pickle=False)
            archive.writestr(member, content.getbuffer())
