"""Running a command so that a signal ends it in its own time, and the reason for a failure is known."""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mosaic_pipeline.command import TERMINATING, Terminated
from mosaic_pipeline.errors import one_line

LAST_LINES = 50  # in which the reason for a failure is looked for


def run_passing_signals(command: list[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command, print what it prints, and return its exit status with the line that says why it failed.

    A signal that asks this process to end goes to all that the command started. They get the time to save their work:
    this returns, or raises what the signal stands for, when the last of them has ended.
    """
    received: list[int] = []
    started: list[subprocess.Popen] = []

    def pass_on(signum: int, frame: Any) -> None:
        received.append(signum)
        for process in started:
            _tell(process, signum)

    before = {signum: signal.signal(signum, pass_on) for signum in (signal.SIGINT, *TERMINATING)}
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a group of its own, which gets a signal once
        )
        started.append(process)
        for signum in received:  # while it was starting
            _tell(process, signum)
        last = _shown(process)
        status = process.wait()
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    if received and status:
        raise KeyboardInterrupt if received[-1] == signal.SIGINT else Terminated(received[-1])
    return status, _reason(last) or f"exit status {status}"


def _tell(process: subprocess.Popen, signum: int) -> None:
    """Send a signal to a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signum)


def _shown(process: subprocess.Popen) -> deque[str]:
    """Print what a process prints, until the last one that holds the other end has ended; return the last lines.

    It goes on when there is nobody to read it, or no room: the work is worth more than its log.
    """
    last: deque[str] = deque(maxlen=LAST_LINES)
    shown = True
    assert process.stdout
    for line in process.stdout:
        last.append(line)
        try:
            if shown:
                sys.stdout.write(line)
                sys.stdout.flush()
        except OSError:
            shown = False
    return last


def _reason(lines: deque[str]) -> str:
    """Return the line in which a stage says why it failed, or else DVC, or the last one."""
    said = [one_line(line) for line in lines if line.strip()]
    for start in ("error: ", "ERROR: "):
        for line in reversed(said):
            if line.startswith(start):
                return line.removeprefix(start)
    return said[-1] if said else ""
