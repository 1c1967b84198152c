"""Where a dataset's npz comes from: generated phantoms, a mirror, or Zenodo. Checked before it takes its final name."""

import errno
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mosaic_pipeline.atomic import atomic
from mosaic_pipeline.data import official
from mosaic_pipeline.data.npz import check_npz
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.download import PATIENCE, Patience, download, is_url
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import from_root
from mosaic_pipeline.params import Data, Phantom
from mosaic_pipeline.present import present

if TYPE_CHECKING:
    from mosaic_pipeline.own import OwnSource


def fetch(
    dataset: Dataset,
    data: Data,
    phantom: Phantom,
    target: Path,
    patience: Patience = PATIENCE,
    own: "OwnSource | None" = None,
) -> dict[str, int]:
    """Bring a dataset's npz to `target` and return its number of images per split; one of one's `own` is made of files.

    The file takes its final name only after its md5 (see `verifies`) and its layout were checked; whatever fails,
    nothing else stays behind. Raises PipelineError.
    """
    for leftover in target.parent.glob(f".{target.name}.*"):  # of a run that was killed
        leftover.unlink()
    if own is not None:
        from mosaic_pipeline.data.own.build import write_own

        target.parent.mkdir(parents=True, exist_ok=True)
        write_own(target, dataset.name, own, data.size(dataset.dimension))
        return check_npz(target, dataset, data.size(dataset.dimension))
    with atomic(target) as temporary:
        if data.source == "phantom":
            from mosaic_pipeline.data.phantom import write_phantom

            write_phantom(temporary, dataset, data.size(dataset.dimension), phantom.model_dump())
            return check_npz(temporary, dataset, data.size(dataset.dimension), origin=str(target))
        origin = locate(dataset, data)
        if isinstance(origin, Path):
            _copy(origin, temporary)
            return _check(temporary, dataset, data, origin)
        return download(
            origin,
            temporary,
            lambda: _check(temporary, dataset, data, origin),
            name=origin,
            setting="data.source and data.mirror",
            patience=patience,
        )


def locate(dataset: Dataset, data: Data) -> str | Path:
    """Return the URL, or the path in a mirror folder (relative to the main repository), of a dataset's file."""
    size = data.size(dataset.dimension)
    if data.source == "zenodo":
        return official.published(dataset, size).url
    mirror = present(data.mirror)
    if is_url(mirror):
        return f"{mirror.rstrip('/')}/{official.file_name(dataset, size)}"
    return from_root(mirror) / official.file_name(dataset, size)


def verifies(data: Data) -> bool:
    """Whether files of this source are held against MedMNIST's md5: Zenodo's always, a mirror's by `data.verify`."""
    return data.source == "zenodo" or (data.source == "mirror" and data.verify)


def _check(file: Path, dataset: Dataset, data: Data, origin: str | Path) -> dict[str, int]:
    size = data.size(dataset.dimension)
    if verifies(data):
        found, expected = md5_file(file), official.published(dataset, size).md5
        if found != expected:
            way_out = (
                "try again later" if data.source == "zenodo" else "`data.verify: false` accepts a mirror's own file"
            )
            raise PipelineError(f"{origin}: md5 is {found}, but MedMNIST's official file has {expected}; {way_out}")
    return check_npz(file, dataset, size, origin=str(origin))


def _copy(source: Path, temporary: Path) -> None:
    try:
        shutil.copyfile(source, temporary)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        reason = getattr(error, "strerror", None) or error
        raise PipelineError(
            f"{source}: {reason}; data.mirror must be a folder or an http(s) URL that holds {source.name}"
        ) from None
