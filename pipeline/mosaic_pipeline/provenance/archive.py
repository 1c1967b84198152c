"""A zip that is the same bytes for the same files: names in order, one date for all. It exists whole or not at all."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

from mosaic_pipeline.atomic import atomic
from mosaic_pipeline.errors import PipelineError

DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can have
MODE = 0o100644 << 16


def check_archive(path: Path) -> None:
    """Raise PipelineError if a zip of this name would take the place of something else."""
    if path.suffix.lower() != ".zip":
        raise PipelineError(f"{path}: its name must end in .zip, for that is what is written")
    if path.exists() and not (path.is_file() and zipfile.is_zipfile(path)):
        raise PipelineError(f"{path}: is there already, and is no zip; name another file, or move it away")


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    """Write files by name, with `/` between folders."""
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, DATE)
            entry.external_attr, entry.compress_type = MODE, zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is written
            archive.writestr(entry, files[name])
