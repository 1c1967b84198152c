"""A zip that is the same bytes for the same files: names in order, one date for all. It exists whole or not at all."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

from mosaic_pipeline.atomic import atomic

DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can have
MODE = 0o100644 << 16


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    """Write files by name, with `/` between folders."""
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, DATE)
            entry.external_attr, entry.compress_type = MODE, zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is written
            archive.writestr(entry, files[name])
