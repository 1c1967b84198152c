"""Where a dataset's npz comes from: generated phantoms, a mirror, or Zenodo. Checked before it takes its final name."""

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.atomic import atomic
from pipeline.data import official
from pipeline.data.npz import check_npz
from pipeline.datasets import Dataset
from pipeline.digest import md5_file
from pipeline.errors import PipelineError
from pipeline.layout import from_root
from pipeline.params import Data, Phantom
from pipeline.redact import redacted

TIMEOUT = (10, 60)  # seconds to connect, and between two packets
RETRY_DELAYS = (1, 2, 4, 8, 16, 32)  # seconds; Zenodo's 503 and 429 usually pass within a minute


class _Interrupted(Exception):
    """A transfer that may well succeed when tried again."""


def fetch(dataset: Dataset, data: Data, phantom: Phantom, target: Path) -> dict[str, int]:
    """Bring a dataset's npz to `target` and return its number of images per split.

    The file takes its final name only after its md5 (see `verifies`) and its layout were checked; whatever fails,
    nothing else stays behind. Raises PipelineError.
    """
    for leftover in target.parent.glob(f".{target.name}.*"):  # of a run that was killed
        leftover.unlink()
    with atomic(target) as temporary:
        if data.source == "phantom":
            from pipeline.data.phantom import write_phantom

            write_phantom(temporary, dataset, data.size(dataset.dimension), phantom.model_dump())
            return check_npz(temporary, dataset, data.size(dataset.dimension), origin=str(target))
        origin = locate(dataset, data)
        if isinstance(origin, Path):
            _copy(origin, temporary)
            return _check(temporary, dataset, data, origin)
        return _download(origin, temporary, lambda: _check(temporary, dataset, data, origin))


def locate(dataset: Dataset, data: Data) -> str | Path:
    """Return the URL, or the path in a mirror folder (relative to the main repository), of a dataset's file."""
    size = data.size(dataset.dimension)
    if data.source == "zenodo":
        return official.published(dataset, size).url
    if _is_url(data.mirror):
        return f"{data.mirror.rstrip('/')}/{dataset.official_file(size)}"
    return from_root(data.mirror) / dataset.official_file(size)


def verifies(data: Data) -> bool:
    """Whether files of this source are held against MedMNIST's md5: Zenodo's always, a mirror's by `data.verify`."""
    return data.source == "zenodo" or (data.source == "mirror" and data.verify)


def _is_url(mirror: str) -> bool:
    return mirror.lower().startswith(("http://", "https://"))


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
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise PipelineError(
            f"{source}: {error.strerror}; data.mirror must be a folder or an http(s) URL that holds {source.name}"
        ) from None


def _download(url: str, temporary: Path, check: Callable[[], dict[str, int]]) -> dict[str, int]:
    """Transfer a URL until `check` accepts what arrived, with exponential back-off.

    Bytes that are refused twice with the same md5 are what the server has, not a damaged transfer.
    """
    refused = None
    for delay in (*RETRY_DELAYS, None):
        try:
            _transfer(url, temporary)
        except _Interrupted as error:
            problem = f"{url}: {error}; check the address and the network, or try again later"
        else:
            try:
                return check()
            except PipelineError as error:
                arrived = md5_file(temporary)
                if arrived == refused:
                    raise
                problem, refused = str(error), arrived
        if delay is None:
            raise PipelineError(problem)
        print(redacted(f"retrying in {delay} s: {problem}"), file=sys.stderr)
        time.sleep(delay)
    raise AssertionError("unreachable: the last delay is None")


def _transfer(url: str, temporary: Path) -> None:
    """Download once. Raises _Interrupted for what may pass, PipelineError for what will not.

    pooch's own retries (1.9.0) repeat every error, a 404 too, after 1, 2, 3, ... seconds.
    """
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(),
        chunk_size=1 << 20,  # the default of 1 KiB, flushed each, is 13 million writes for PathMNIST at 224 px
        timeout=TIMEOUT,
        headers=pooch.downloaders.REQUESTS_HEADERS,  # Zenodo limits the default user agent of requests
    )
    try:
        downloader(url, str(temporary), None)
    except requests.HTTPError as error:
        status = error.response.status_code
        answer = f"the server answered {status} {error.response.reason}"
        if status >= 500 or status in (requests.codes.too_many_requests, requests.codes.request_timeout):
            raise _Interrupted(answer) from None
        raise PipelineError(f"{url}: {answer}; check data.source and data.mirror") from None
    except requests.Timeout:
        raise _Interrupted("the server does not answer in time") from None
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise _Interrupted(f"the connection failed ({_reason(error)})") from None
    except requests.RequestException as error:
        raise PipelineError(f"{url}: not a URL that can be fetched ({_reason(error)}); see data.mirror") from None


def _reason(error: Exception) -> str:
    """Return the innermost reason that requests and urllib3 wrap, in one line."""
    while error.args and isinstance(inner := getattr(error.args[0], "reason", error.args[0]), Exception):
        error = inner
    return " ".join(str(error).split())
