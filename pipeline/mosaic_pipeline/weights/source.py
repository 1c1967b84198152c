"""Where the backbone's weights come from: a file, an http(s) URL, a hub, or random ones written on the spot."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_pipeline.atomic import atomic
from mosaic_pipeline.data.augment import Statistics
from mosaic_pipeline.digest import md5_text, sha256_file
from mosaic_pipeline.download import PATIENCE, Patience, download, is_url
from mosaic_pipeline.errors import PipelineError, one_line
from mosaic_pipeline.layout import from_root, root
from mosaic_pipeline.model.vit import VisionTransformer
from mosaic_pipeline.redact import redacted
from mosaic_pipeline.weights.checkpoint import open_tensors
from mosaic_pipeline.weights.files import kind_of
from mosaic_pipeline.weights.google_npz import check_intact
from mosaic_pipeline.weights.random import RANDOM_SEED, write_random

HUB = "hub:"
RANDOM = "random"  # the name of weights that were never trained


@dataclass(frozen=True)
class Source:
    """A file on disk; `name` is its file name, or `random`, so that a path says nothing about a machine.

    A hub also tells which `revision` of its files it is, mean and std of what it was trained on, in `found_in` where it
    says those or why they are not known, and `told` whether heads and activation are known to be the model's.
    """

    path: Path
    name: str
    sha256: str
    revision: str | None = None
    statistics: Statistics | None = None
    found_in: str | None = None
    told: bool = False


def locate(
    weights: str | None,
    sha256: str | None,
    model: VisionTransformer,
    architecture: str,
    arguments: Mapping[str, Any] | None = None,
    patience: Patience = PATIENCE,
) -> Source:
    """Return the file that `model.weights` names, downloaded once; None writes random weights for the model.

    A relative path starts at the repository. `architecture` is the model's name in timm, `arguments` those that it was
    built with beside it, against which a hub's own are held. Raises PipelineError if the file cannot be had, or is not
    that of the sha256.
    """
    if weights is None:
        path = write_random(_folder(), model, architecture, RANDOM_SEED)
        return Source(path, RANDOM, sha256_file(path))
    if weights.startswith(HUB):
        from mosaic_pipeline.weights.hub import fetch  # which imports the hub's client

        found = fetch(weights.removeprefix(HUB), model, architecture, arguments or {}, _folder() / "hub")
        digest = _digest("model.weights", found.path)
        _check_sha256("model.weights", f"model.weights: {weights}", digest, sha256)
        return Source(found.path, found.name, digest, found.revision, found.statistics, found.found_in, found.told)
    return locate_file(weights, sha256, patience=patience, others=", or hub:<a tag of timm>")


def locate_file(
    weights: str,
    sha256: str | None,
    *,
    setting: str = "model.weights",
    patience: Patience = PATIENCE,
    others: str = "",
) -> Source:
    """Return the file that a path or an http(s) URL means, downloaded once; `setting` is the key that names it.

    A relative path starts at the repository; `others` says what else may stand there. Raises PipelineError if the file
    cannot be had, or is not that of the sha256.
    """
    if is_url(weights):
        return _fetch(weights, sha256, setting, patience)
    path = from_root(weights)
    if not path.is_file():
        found = "a folder, not a file" if path.is_dir() else "no such file"
        either = (
            "a path from the repository, an http(s) URL" if others else "a path from the repository or an http(s) URL"
        )
        raise PipelineError(f"{setting}: {path}: {found}; give {either}{others}")
    digest = _digest(setting, path)
    _check_sha256(setting, f"{setting}: {path}", digest, sha256)
    return Source(path, _called(path.name), digest)


def _called(file: str) -> str:
    """Return the name of a file, never that of random weights."""
    return f"{file} (a file)" if file == RANDOM else file


def _digest(setting: str, path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise PipelineError(f"{setting}: {path}: {error.strerror}; make it a file that can be read") from None


def _check_sha256(setting: str, name: str, found: str, expected: str | None) -> None:
    if expected not in (None, found):
        raise PipelineError(
            f"{name}: sha256 is {found}, expected {expected} ({setting}_sha256); give the sha256 of the file that "
            "is meant, or null"
        )


def _folder() -> Path:
    return root() / ".cache" / "weights"


def _fetch(url: str, sha256: str | None, setting: str, patience: Patience) -> Source:
    """Download into the cache unless an intact file is there already; what is refused does not stay.

    Intact is what its kind's check sums say; safetensors has none, so that only its length is held against its header.
    """
    name = f"{setting}: {url}"
    file = _file_name(url)
    path = _folder() / f"{md5_text(url)}-{file}"

    def checked(arrived: Path) -> Source:
        found = sha256_file(arrived)
        _check_sha256(setting, name, found, sha256)
        try:
            if kind_of(arrived) == "npz":
                check_intact(arrived)
            else:
                with open_tensors(arrived):
                    pass
        except PipelineError as error:
            raise PipelineError(f"{name}: {str(error).removeprefix(f'{arrived}: ')}") from None
        return Source(path, _called(file), found)

    if path.exists():
        try:
            return checked(path)
        except (PipelineError, OSError) as error:
            print(one_line(f"{path} is not what it was ({error}); fetching it anew"), file=sys.stderr)
    with atomic(path) as temporary:
        return download(url, temporary, lambda: checked(temporary), name=name, setting=setting, patience=patience)


def _file_name(url: str) -> str:
    """Return the last part of a URL's path, as far as a file's name may hold it."""
    last = re.split(r"[?#]", url)[0].rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.\-+%]", "_", redacted(f"://{last}").removeprefix("://"))[-100:]
