"""Where the backbone's npz comes from: a file, an http(s) URL, or random weights written on the spot."""

import logging
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pooch
import requests

from pipeline.digest import sha256_file
from pipeline.errors import PipelineError
from pipeline.layout import from_root, root
from pipeline.weights.google_npz import Layout, random_npz

RETRIES = 3
TIMEOUT_S = 60
RANDOM_SEED = 0


@dataclass(frozen=True)
class Source:
    """An npz on disk; `name` is its file name, or `random`, so that a path says nothing about a machine."""

    path: Path
    name: str
    sha256: str


def locate_npz(weights: str | None, sha256: str | None, layout: Layout) -> Source:
    """Return the npz that `model.weights` names, downloaded once; None writes a random one of `layout`.

    A relative path starts at the repository. Raises PipelineError if it cannot be had, or is not the file of that
    sha256.
    """
    if weights is None:
        path = _folder() / f"random_width{layout.width}_depth{layout.depth}_tokens{layout.tokens}.npz"
        random_npz(path, layout, RANDOM_SEED)
        return Source(path, "random", sha256_file(path))
    if weights.startswith(("http://", "https://")):
        path, name = _fetch(weights, sha256), PurePosixPath(urlsplit(weights).path).name
    else:
        path = from_root(weights)
        name = path.name
    if not path.is_file():
        raise PipelineError(f"model.weights: {path}: no such file; give a path from the repository, or an http(s) URL")
    found = sha256_file(path)
    if sha256 not in (None, found):
        raise PipelineError(f"model.weights: {path}: sha256 is {found}, expected {sha256} (model.weights_sha256)")
    return Source(path, name, found)


def _folder() -> Path:
    return root() / ".cache" / "weights"


def _fetch(url: str, sha256: str | None) -> Path:
    """Download into the cache unless it is there; retried with back-off, moved into place when whole."""
    pooch.get_logger().setLevel(logging.WARNING)
    name = pooch.utils.unique_file_name(url)
    cache = pooch.create(
        _folder(),
        base_url="",
        registry={name: sha256 and f"sha256:{sha256}"},
        urls={name: url},
        retry_if_failed=RETRIES,
    )
    try:
        return Path(cache.fetch(name, downloader=_download))
    except (ValueError, requests.RequestException) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(f"model.weights: {url}: {reason} (tried {1 + RETRIES} times)") from None


def _download(url: str, target: Any, _: pooch.Pooch) -> None:
    """Transfer once; what pooch should not try again is a PipelineError, what it should a ValueError."""
    transfer = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=1 << 20, timeout=TIMEOUT_S)
    try:
        transfer(url, target, None)
    except requests.HTTPError as error:
        status = error.response.status_code
        if status >= 500 or status in (requests.codes.too_many_requests, requests.codes.request_timeout):
            raise
        raise PipelineError(f"model.weights: {url}: the server answered {status} {error.response.reason}") from None
    # A server's apology may come with status 200 and must not be kept as the weights.
    if not zipfile.is_zipfile(target):
        raise ValueError("what the server sent is no npz file")
