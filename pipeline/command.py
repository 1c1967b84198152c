"""How a stage's command ends: quietly, or with one line on stderr and a non-zero exit."""

import errno
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from pipeline.errors import PipelineError

USER_ERROR = 2
INTERRUPTED = 130


# What asks a process to end, Ctrl-C aside: `kill`, and a terminal that was closed.
TERMINATING = (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)


class Terminated(SystemExit):
    """SIGTERM or SIGHUP arrived; raised as an exception so that files and runs are closed on the way out."""

    def __init__(self, signum: int = signal.SIGTERM) -> None:
        """Carry the exit status that a shell reports for the signal."""
        super().__init__(128 + signum)
        self.name = signal.Signals(signum).name


class GracefulStop:
    """Inside this context the first SIGTERM, SIGHUP or Ctrl-C is a request; a second one ends the process at once.

    A signal that was ignored before (`nohup`, a script's `&`) stays ignored.
    """

    def __init__(self) -> None:
        """Nothing is requested yet."""
        self._signal: int | None = None
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
        self._signal = signum
        self._restore()

    def _restore(self) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)


def _raise_terminated(signum: int, frame: FrameType | None) -> None:
    raise Terminated(signum)


def run_command(main: Callable[[], None]) -> None:
    """Run a stage's `main` and exit the process with the status a shell expects.

    A `PipelineError` and a full disk give one line and exit status 2, Ctrl-C 130, SIGTERM 143; anything else is a
    defect of ours and keeps its traceback.
    """
    previous = {}
    for signum in TERMINATING:
        if signal.getsignal(signum) != signal.SIG_IGN:
            previous[signum] = signal.signal(signum, _raise_terminated)
    try:
        main()
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Terminated as error:
        print(f"terminated ({error.name})", file=sys.stderr)
        raise
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(
            f"error: {error.filename or 'the disk'}: no space left; free some and run the command again",
            file=sys.stderr,
        )
        sys.exit(USER_ERROR)
    finally:
        # While the interpreter shuts down an exception would only be printed, with its traceback.
        for signum, handler in previous.items():
            signal.signal(signum, handler)
