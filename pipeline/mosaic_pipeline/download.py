"""One file over http(s): it arrives whole and is accepted, or one line says why not. Nobody waits for ever."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.errors import PipelineError, one_line
from mosaic_pipeline.present import present

T = TypeVar("T")

_PIECE = 16 << 10  # bytes; small beside what the slowest transfer that goes on brings in a window


@dataclass(frozen=True)
class Patience:
    """How long a transfer may take without getting on, in seconds.

    A server that never answers is given up after about a minute, one that sends too little after three.
    """

    connect: float = 10
    silence: float = 20  # between two packets
    window: float = 60  # in which at least so many bytes have to arrive, 1 kB/s
    least: int = 60_000
    stalls: int = 3  # tries that end in silence or too little; what fails at once is tried again after each delay
    delays: tuple[float, ...] = (1, 2, 4, 8, 16, 32)  # Zenodo's 503 and 429 usually pass within a minute


PATIENCE = Patience()


class _Interrupted(Exception):
    """A transfer that may well succeed when tried again."""


class _Stalled(_Interrupted):
    """One that took long to fail."""


class _Hopeless(Exception):
    """A transfer that would fail again."""


@dataclass(frozen=True)
class _End:
    """The last thing that comes out of a transfer's queue: nothing more, or why."""

    error: Exception | None


def is_url(text: str) -> bool:
    """Whether a value of a parameter is meant as an address rather than as a path."""
    return text.lower().startswith(("http://", "https://"))


def download(
    url: str, target: Path, check: Callable[[], T], *, name: str, setting: str, patience: Patience = PATIENCE
) -> T:
    """Transfer a URL to `target` until `check` accepts what arrived, with exponential back-off; return its answer.

    Bytes that are refused twice with the same md5 are what the server has, not a damaged transfer. `name` is what
    errors call the file, `setting` the parameter to look at. Raises PipelineError; what `target` then holds is no good.
    """
    refused, stalls = None, 0
    for delay in (*patience.delays, None):
        try:
            _transfer(url, target, patience)
        except _Hopeless as error:
            raise PipelineError(f"{name}: {error}; check {setting}") from None
        except _Interrupted as error:
            problem = f"{name}: {error}; check the address and the network, or try again later"
            stalls += isinstance(error, _Stalled)
        else:
            try:
                return check()
            except PipelineError as error:
                arrived = md5_file(target)
                if arrived == refused:
                    raise
                problem, refused = str(error), arrived
        if delay is None or stalls == patience.stalls:
            raise PipelineError(problem)
        print(one_line(f"retrying in {delay:g} s: {problem}"), file=sys.stderr)
        time.sleep(delay)
    raise AssertionError("unreachable: the last delay is None")


def _transfer(url: str, target: Path, patience: Patience) -> None:
    """Download once. Raises _Interrupted for what may pass, _Hopeless for what will not, OSError of the file.

    A socket's timeout is between two packets, so that a byte now and then would do: the socket is read in a thread of
    its own, which is left alone when too little arrives.
    """
    pieces: Queue[bytes | _End] = Queue(maxsize=64)
    abandoned = Event()
    Thread(target=_receive, args=(url, pieces, abandoned, patience), daemon=True).start()
    try:
        with open(target, "wb") as file:
            for piece in _flowing(pieces, patience):
                file.write(piece)
    finally:
        abandoned.set()


def _flowing(pieces: "Queue[bytes | _End]", patience: Patience) -> Iterator[bytes]:
    """Yield what is received, as long as enough is. Raises _Interrupted or _Hopeless."""
    began, received = time.monotonic(), 0
    while True:
        try:
            piece = pieces.get(timeout=max(0.0, began + patience.window - time.monotonic()))
        except Empty:
            piece = b""
        if isinstance(piece, _End):
            if piece.error:
                raise _classified(piece.error) from None
            return
        received += len(piece)
        if time.monotonic() >= began + patience.window:
            if received < patience.least:
                raise _Stalled(f"no more than {received} bytes arrived in {patience.window:g} s")
            began, received = time.monotonic(), 0
        if piece:
            yield piece


def _receive(url: str, pieces: "Queue[bytes | _End]", abandoned: Event, patience: Patience) -> None:
    """Put what the server sends into the queue, and at last how that ended."""
    pipe = _Pipe(pieces, abandoned)
    try:
        import pooch

        # Without encoding, so that what arrives is what counts. Zenodo limits the default user agent of requests.
        headers = pooch.downloaders.REQUESTS_HEADERS | {"Accept-Encoding": "identity"}
        downloader = pooch.HTTPDownloader(
            progressbar=sys.stderr.isatty(),
            chunk_size=_PIECE,
            timeout=(patience.connect, patience.silence),
            headers=headers,
        )
        downloader(url, pipe, None)
        end = _End(None)
    except Exception as error:  # foreign addresses and headers make libraries raise nearly anything
        end = _End(error)
    with suppress(_Interrupted):
        pipe.write(end)


class _Pipe:
    """The file that pooch writes to: a queue."""

    def __init__(self, pieces: "Queue[bytes | _End]", abandoned: Event) -> None:
        """Write to `pieces` until nobody takes anything out of it any more."""
        self._pieces = pieces
        self._abandoned = abandoned

    def write(self, piece: bytes | _End) -> None:
        """Wait for room in the queue. Raises _Interrupted once it is abandoned."""
        while not self._abandoned.is_set():
            try:
                return self._pieces.put(piece, timeout=1)
            except Full:
                pass
        raise _Interrupted

    def flush(self) -> None:
        """Do nothing: there is no buffer."""


def _classified(error: Exception) -> _Interrupted | _Hopeless:
    """Return what to raise for an error of requests, or of the libraries under it."""
    import requests
    import urllib3

    if isinstance(error, requests.HTTPError):
        response = present(error.response)
        status = response.status_code
        passes = status >= 500 or status in (requests.codes.too_many_requests, requests.codes.request_timeout)
        return (_Interrupted if passes else _Hopeless)(f"the server answered {status} {response.reason}")
    # requests calls a silence within the body a failed connection.
    cause = error.args[0] if error.args else None
    if isinstance(error, requests.Timeout) or isinstance(cause, urllib3.exceptions.TimeoutError):
        return _Stalled("the server does not answer in time")
    reason = _reason(error)
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return _Interrupted(f"the connection failed ({reason})")
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        return _Hopeless(f"not a URL that can be fetched ({reason})")
    return _Hopeless(f"the server's answer cannot be read ({reason})")


def _reason(error: Exception) -> str:
    """Return the innermost reason that requests and urllib3 wrap, in one line."""
    while wrapped := [w for each in error.args if isinstance(w := getattr(each, "reason", each), Exception)]:
        error = wrapped[0]
    return " ".join(str(error).split()) or type(error).__name__
