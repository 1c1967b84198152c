"""The HTTP interface of a bundle: GET /health, GET /model, POST /predict; whatever else comes is a sentence."""

import logging
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import anyio
from anyio import CapacityLimiter
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from mosaic_pipeline import __version__
from mosaic_pipeline.bundle.inputs import InputError
from mosaic_pipeline.bundle.load import Bundle, describe
from mosaic_pipeline.errors import few
from mosaic_pipeline.explain import debugging, place_of
from mosaic_pipeline.serving.answer import answer
from mosaic_pipeline.serving.images import MOST_IMAGES
from mosaic_pipeline.serving.question import Question, read_question

MOST_WAITING = 16  # requests that are there in full, the one that is answered included
BODY_SECONDS = 60  # in which a body must have come
LOCAL = ("localhost", "127.0.0.1", "[::1]")
PATHS = ("GET /health", "GET /model", "POST /predict")
DEFECT = "a defect of the server, which its log names; the request may be right"

_log = logging.getLogger("mosaic.serve")


class Held:
    """The bytes of all bodies, which may be those of as many as may wait; how many are still to come does not count."""

    def __init__(self, most: int) -> None:
        """None are held yet."""
        self._left = most

    def take(self, size: int) -> None:
        """Hold some more. Raises Refused if there is no room."""
        if size > self._left:
            raise Refused(503, "other requests take up all memory for bodies; ask again later")
        self._left -= size

    def give_back(self, size: int) -> None:
        """Hold them no more."""
        self._left += size


class Refused(Exception):
    """A request that is answered with this status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        """Keep both."""
        super().__init__(sentence)
        self.status = status


def build_app(bundle: Bundle, most_bytes: int, hosts: Collection[str] = LOCAL) -> FastAPI:
    """Return the application that answers with a bundle.

    Bodies of more than `most_bytes` are not read. Requests must be to one of `hosts`, or to a number: a page that
    somebody reads can have its own name point to this machine, and no number.
    """
    # Pages of documentation would load scripts from elsewhere; /openapi.json says the same.
    app = FastAPI(title="MOSAIC", version=__version__, docs_url=None, redoc_url=None)
    one_at_a_time = CapacityLimiter(1)  # predictions would only share the cores
    waiting, held = CapacityLimiter(MOST_WAITING), Held(MOST_WAITING * most_bytes)
    model = describe(bundle) | {"most_bytes": most_bytes, "most_images": MOST_IMAGES}

    @app.get("/health", summary="Whether it answers")
    async def health() -> dict[str, str]:
        return {"status": "ok", "model": model["md5"]}

    @app.get("/model", summary="Which model it is, and what it knows")
    async def described() -> dict[str, Any]:
        return model

    @app.post("/predict", summary="Class probabilities of images", openapi_extra=_request_schema())
    async def predict(request: Request) -> Response:
        _check_type(request)
        async with _reading(request, most_bytes, held) as body:
            try:
                waiting.acquire_nowait()
            except anyio.WouldBlock:
                raise Refused(503, f"{MOST_WAITING} requests are waiting already; ask again later") from None
            try:
                said = await anyio.to_thread.run_sync(
                    lambda: answer(bundle, read_question(body)), limiter=one_at_a_time
                )
            finally:
                waiting.release()
        request.state.images = f"{len(said['predicted'])} of {said['dataset']}"
        return JSONResponse(said)

    @app.middleware("http")
    async def guard(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        started = time.perf_counter()
        try:
            _check_host(request, hosts)
            response = await call(request)
        except Exception as error:
            response = _refusal(error)
        _log_answer(request, response.status_code, time.perf_counter() - started)
        return response

    app.add_exception_handler(HTTPException, _of_framework)
    return app


@asynccontextmanager
async def _reading(request: Request, most: int, held: Held) -> AsyncIterator[bytes]:
    """Yield the body, whose bytes are held for as long.

    Raises Refused for one that says to be larger than allowed, or goes on beyond that, or does not end in time.
    """
    too_large = Refused(413, f"the body is larger than {most / 1e6:g} MB; send fewer images at a time")
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > most:
        raise too_large
    parts, size = [], 0
    try:
        with anyio.move_on_after(BODY_SECONDS) as time_limit:
            async for part in request.stream():
                if size + len(part) > most:
                    raise too_large
                held.take(len(part))
                size += len(part)
                parts.append(part)
        if time_limit.cancelled_caught:
            raise Refused(408, f"the body did not end within {BODY_SECONDS:g} s; send fewer images at a time")
        yield b"".join(parts)
    finally:
        held.give_back(size)


def _check_type(request: Request) -> None:
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise Refused(400, "the content type must be application/json, in UTF-8")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(400, "the body must not be compressed (Content-Encoding)")


def _check_host(request: Request, hosts: Collection[str]) -> None:
    host = request.headers.get("host", "")
    name = host[: host.rfind("]") + 1] if host.startswith("[") else host.partition(":")[0]
    if name.lower() not in hosts and not _is_number(name):
        raise Refused(400, "the request is to a host of another name; whoever serves can allow it (--allow-host)")


def _is_number(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _refusal(error: Exception) -> Response:
    """Return the answer to a request that failed; a defect goes to the log without what it says, which may quote."""
    if isinstance(error, Refused):
        return _sentence(error.status, str(error))
    if isinstance(error, InputError):
        return _sentence(400, str(error))
    if isinstance(error, ClientDisconnect):  # nobody reads it
        return _sentence(400, "the request ended before its body did")
    _log.error("defect: %s%s; MOSAIC_DEBUG=1 shows more", type(error).__name__, place_of(error))
    if debugging():
        traceback.print_exception(error)
    return _sentence(500, DEFECT)


async def _of_framework(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    return _sentence(status, f"there is no such path or method; there are {few(PATHS)}")


def _sentence(status: int, said: str) -> Response:
    # A body that is not read would be taken for the next request.
    return JSONResponse({"error": said}, status, {"connection": "close"} if status in (408, 413, 503) else None)


def _log_answer(request: Request, status: int, seconds: float) -> None:
    """Say what was answered; of a request only what is one of ours."""
    asked = f"{request.method} {request.url.path}"
    images = getattr(request.state, "images", None)
    _log.info(
        "%s %d%s, %.0f ms", asked if asked in PATHS else "?", status, f", {images}" if images else "", 1e3 * seconds
    )


def _request_schema() -> dict[str, Any]:
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": Question.model_json_schema()}}}
    }
