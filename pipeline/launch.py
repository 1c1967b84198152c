"""Starting a command as several processes of torchrun's, and starting them again from the checkpoint when one dies."""

import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.command import INTERRUPTED, USER_ERROR, Terminated
from pipeline.errors import PipelineError, ProcessLost

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure


def launched() -> bool:
    """Whether torchrun started this process."""
    return "LOCAL_RANK" in os.environ


def local_rank() -> int:
    """Return the number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", 0))


def launch(module: str, arguments: list[str], *, processes: int, restarts: int) -> None:
    """Run `python -m module arguments` as that many processes on this machine and wait for them.

    When a process dies, all are ended and started again, up to `restarts` times. Raises PipelineError if they fail for
    good, or for a reason that would be the same again; SIGTERM and Ctrl-C are passed on to them.
    """
    import logging
    from signal import SIGINT

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import DefaultLogsSpecs, LaunchConfig, elastic_launch

    # What it would say is said below, in a line.
    for talkative in ("agent.server", "multiprocessing"):
        logging.getLogger(f"torch.distributed.elastic.{talkative}.api").setLevel(logging.CRITICAL)
    defaults = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}
    if sys.platform == "linux":
        defaults["GLOO_SOCKET_IFNAME"] = "lo"  # these processes are all on this machine
    for attempt in range(restarts + 1):
        with tempfile.TemporaryDirectory(prefix="mosaic-") as reports, _environment(defaults):
            config = LaunchConfig(
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=processes,
                run_id=str(uuid.uuid4()),
                rdzv_backend="c10d",
                rdzv_endpoint="localhost:0",
                local_addr="127.0.0.1",
                max_restarts=0,
                monitor_interval=0.1,
                logs_specs=DefaultLogsSpecs(log_dir=reports),
            )
            try:
                elastic_launch(config, sys.executable)("-u", "-m", module, *arguments)
                return
            except SignalException as error:
                raise (KeyboardInterrupt() if error.sigval == SIGINT else Terminated(error.sigval)) from None
            except ChildFailedError as error:
                rank, failure = _cause(error.failures)
        reason = _reason(failure)
        if failure.exitcode == USER_ERROR:
            raise PipelineError(reason)
        said = f"training process {rank} of {processes} ended: {reason}"
        if attempt == restarts:
            raise PipelineError(f"{said}; the same command continues from the last checkpoint")
        print(f"{said}; starting again from the last checkpoint ({attempt + 1} of {restarts})", file=sys.stderr)


def reporting(main: Callable[[], None]) -> Callable[[], None]:
    """Return `main` for a process of torchrun's: it leaves saying how it failed to its parent, through a file."""
    from torch.distributed.elastic.multiprocessing.errors import record

    def recorded() -> None:
        try:
            record(main)()
        except PipelineError:
            sys.exit(USER_ERROR)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except Terminated as error:
            sys.exit(error.code)
        except ProcessLost as error:
            print(error, file=sys.stderr)
            sys.exit(1)

    return recorded


@contextmanager
def _environment(defaults: Mapping[str, str]) -> Iterator[None]:
    """Set variables for processes that start inside, unless they are set already."""
    unset = [name for name in defaults if name not in os.environ]
    os.environ.update({name: defaults[name] for name in unset})
    try:
        yield
    finally:
        for name in unset:
            del os.environ[name]


def _cause(failures: Mapping[int, "ProcessFailure"]) -> tuple[int, "ProcessFailure"]:
    """Pick the failure that brought the others about: a mistake of the user's, a kill, or else the first one."""

    def order(rank: int) -> tuple:
        failure = failures[rank]
        killed = failure.exitcode < 0 and failure.signal_name() != "SIGTERM"
        return failure.exitcode != USER_ERROR, not killed, failure.timestamp

    rank = min(failures, key=order)
    return rank, failures[rank]


def _reason(failure: "ProcessFailure") -> str:
    if failure.exitcode < 0:
        return f"killed by {failure.signal_name()}"
    if isinstance(failure.message, dict):
        message = failure.message["message"].splitlines()[0]
        # "PipelineError: breastmnist: ...", or one of its kinds -> the message alone
        return message.partition(": ")[2] if failure.exitcode == USER_ERROR else message
    return f"exit status {failure.exitcode}"
