"""A headless Chromium that shows one page, spoken to over a pair of pipes in its debugging protocol."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mosaic_pipeline.errors import PipelineError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# What a page might ask for outside of this machine is not found.
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"),
    *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-pipe"),
)
PATIENCE = 120  # seconds that a page has to be ready


def find_browser() -> str:
    """Return the path of a Chromium; PipelineError without one on PATH."""
    for name in PROGRAMS:
        if path := shutil.which(name):
            return path
    raise PipelineError("chromium: not found on PATH; install it (on Debian: apt-get install chromium)")


class Page:
    """The page of a running browser."""

    def __init__(self, requests: int, answers: int) -> None:
        """Open it; `requests` and `answers` are file descriptors of pipes to and from the browser."""
        self._requests, self._answers = os.fdopen(requests, "wb"), os.fdopen(answers, "rb")
        self._number, self._session, self._rest = 0, {}, b""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def shoot(self, url: str, width: int, height: int, ready: str) -> bytes:
        """Return the first screen of a page in light colours as PNG, once the JavaScript `ready` is true."""
        light = [{"name": "prefers-color-scheme", "value": "light"}]
        self._call("Emulation.setEmulatedMedia", features=light)
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._call("Page.navigate", url=url)
        deadline = time.monotonic() + PATIENCE
        while not self._call("Runtime.evaluate", expression=ready)["result"].get("value"):
            if time.monotonic() > deadline:
                raise PipelineError(f"{url}: not complete after {PATIENCE} s")
            time.sleep(0.5)
        time.sleep(2)  # what moves comes to rest
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        self._requests.write(json.dumps(message).encode() + b"\0")
        self._requests.flush()
        while True:  # events come in between
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise PipelineError(f"chromium: {method}: {answer['error']['message']}")
                return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not (more := self._answers.read1()):
                raise PipelineError("chromium: ended by itself; does it start on this machine?")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextmanager
def open_page() -> Iterator[Page]:
    """Start a browser with a profile of its own, and end it."""
    browser = find_browser()
    theirs_in, requests = os.pipe()
    answers, theirs_out = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # The protocol's descriptors are 3 and 4.
        shell = ["sh", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "sh"]
        command = [*shell, browser, *FLAGS, f"--user-data-dir={profile}"]
        process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Page(requests, answers)
        finally:
            process.terminate()
            process.wait()
