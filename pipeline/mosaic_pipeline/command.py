"""How a stage's command ends: quietly, or with one line on stderr and a non-zero exit."""

import inspect
import io
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from mosaic_pipeline.explain import debugging, explain

INTERRUPTED = 130
BROKEN_PIPE = 141  # what a shell reports for SIGPIPE

# What asks a process to end, Ctrl-C aside: `kill`, and a terminal that was closed.
TERMINATING = (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)


# A cluster signals all processes of a job, and the job's script passes it on: within so many seconds it is one request.
SAME_REQUEST = 2.0


class Terminated(SystemExit):
    """SIGTERM or SIGHUP arrived; raised as an exception so that files and runs are closed on the way out."""

    def __init__(self, signum: int = signal.SIGTERM) -> None:
        """Carry the exit status that a shell reports for the signal."""
        super().__init__(128 + signum)
        self.name = signal.Signals(signum).name


class GracefulStop:
    """Inside this context the first SIGTERM, SIGHUP or Ctrl-C is a request; a second one ends the process at once.

    A SIGTERM that comes again within SAME_REQUEST seconds is the same request. A signal that was ignored before
    (`nohup`, a script's `&`) stays ignored.
    """

    def __init__(self) -> None:
        """Nothing is requested yet."""
        self._signal: int | None = None
        self._is_new = _Requests()
        self._previous: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal came in."""
        return self._signal is not None

    @property
    def exception(self) -> BaseException:
        """What to raise once the work is safe, so that the process ends as the signal would have it."""
        if self._signal == signal.SIGINT:
            return KeyboardInterrupt()
        return Terminated(self._signal or signal.SIGTERM)

    def __enter__(self) -> "GracefulStop":
        """Take the signals over."""
        for signum in (signal.SIGINT, *TERMINATING):
            if signal.getsignal(signum) != signal.SIG_IGN:
                self._previous[signum] = signal.signal(signum, self._request)
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the signals back."""
        self._restore()

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if not self._is_new(signum):
            return
        if self._signal is None:
            self._signal = signum
        else:
            self._restore()
            signal.raise_signal(signum)

    def _restore(self) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)


class _Requests:
    """Tells a signal that is a request of its own from the same one that comes again."""

    def __init__(self) -> None:
        self._last: float | None = None

    def __call__(self, signum: int) -> bool:
        """Return whether the signal that has come now is a request of its own; Ctrl-C always is one."""
        before, self._last = self._last, time.monotonic()
        return signum == signal.SIGINT or before is None or self._last - before >= SAME_REQUEST


def terminating() -> Callable[[int, FrameType | None], None]:
    """Return a handler that raises Terminated, once for a request."""
    is_new = _Requests()

    def terminate(signum: int, frame: FrameType | None) -> None:
        if is_new(signum):
            raise Terminated(signum)

    return terminate


def before_imports() -> None:
    """Let nothing raw be said before `run_command` is reached: an import that fails is one line."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed (`>&-`): what libraries print must go somewhere
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    sys.excepthook = _end_at_import
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names in a terminal that is not UTF-8


def run_command(main: Callable[[], None]) -> None:
    """Run a stage's `main` and exit the process with the status a shell expects.

    What can be mended gives one line on stderr and exit status 2, Ctrl-C 130, SIGTERM 143, a reader that left
    (`| head`) nothing and 141; anything else is a defect of ours, in one line too, and 70. With MOSAIC_DEBUG=1 the
    traceback stands before the line.
    """
    previous = {}
    terminate = terminating()
    try:
        for signum in TERMINATING:
            if signal.getsignal(signum) != signal.SIG_IGN:
                previous[signum] = signal.signal(signum, terminate)
        if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # see stages/__init__.py
            previous[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
        if sys.stdout:
            sys.stdout.flush()
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(INTERRUPTED)
    except Terminated as error:
        _say(f"terminated ({error.name})")
        raise
    except Exception as error:
        sys.exit(_status(error, stage_of(main)))
    finally:
        _forget_unwritten()
        # While the interpreter shuts down an exception would only be printed, with its traceback.
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def stage_of(main: Callable[[], None]) -> str:
    """Return the name of the stage whose `main` this is, also where it runs as a command."""
    main = inspect.unwrap(main)
    spec = getattr(main, "__globals__", {}).get("__spec__")
    return (spec.name if spec else main.__module__).rpartition(".")[2]


def reader_left() -> bool:
    """Whether nobody reads the pipe that stdout is any more."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # errors are always reported
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # no poll here, no stdout, or none with a descriptor
        return False


def _status(error: Exception, stage: str) -> int:
    """Say what ended a stage, and return its exit status."""
    if isinstance(error, BrokenPipeError) and reader_left():
        return BROKEN_PIPE
    status, line = explain(error, stage)
    if debugging():
        with suppress(OSError):
            traceback.print_exception(error)
    _say(f"error: {line}")
    return status


def _end_at_import(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Stand in for the interpreter's own report, which is a traceback and exit status 1."""
    status = _status(error, Path(sys.argv[0]).stem) if isinstance(error, Exception) else INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status)


def _say(line: str) -> None:
    """Print a line on stderr, if anybody is there."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def _forget_unwritten() -> None:
    """Drop what stdout cannot take, or the interpreter would try again at its end, and say so in its own words."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
