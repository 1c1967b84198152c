"""Starting a command as several processes of torchrun's, and starting them again from the checkpoint when one dies."""

import functools
import os
import sys
import tempfile
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mosaic_pipeline.command import BROKEN_PIPE, INTERRUPTED, Terminated, reader_left, stage_of
from mosaic_pipeline.errors import PipelineError, ProcessLost, one_line
from mosaic_pipeline.explain import DEBUG, DEFECT, USER_ERROR, debugging, explain

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

# Names the file through which the processes of one machine meet; under torchrun there is none, but an address.
MEETING = "MOSAIC_MEETING"
LOOPBACK = {"linux": "lo", "darwin": "lo0"}
NUMBERS = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "MASTER_PORT")  # what torchrun tells each process, with MASTER_ADDR
MOST_PER_CORE = 4  # processes for each core; each takes the memory of a training of its own


def launched() -> bool:
    """Whether torchrun started this process. Raises PipelineError if that is only half said."""
    if "LOCAL_RANK" not in os.environ:
        return False
    for name in (*NUMBERS, "MASTER_ADDR"):
        value = os.environ.get(name, "")
        if not value or (name in NUMBERS and not (value.isascii() and value.isdigit())):
            said = f"is {value!r}, no number" if value else "is not"
            raise PipelineError(
                f"LOCAL_RANK is set in the environment, which says that torchrun started this process, but {name} "
                f"{said}; unset LOCAL_RANK, or start with torchrun"
            )
    return True


def local_rank() -> int:
    """Return the number of this process on its machine."""
    return int(os.environ["LOCAL_RANK"]) if launched() else 0


def launch(module: str, arguments: list[str], *, processes: int, restarts: int) -> None:
    """Run `python -m module arguments` as that many processes on this machine and wait for them.

    When a process dies, all are ended and started again, up to `restarts` times. Raises PipelineError if they fail for
    good, or for a reason that would be the same again; SIGTERM and Ctrl-C are passed on to them.

    They meet through files in a private folder and talk over the loopback: a store of torch's would listen on all
    interfaces, and whoever reaches it can have its readers unpickle what he likes.
    """
    cores = os.cpu_count() or 1
    if processes > MOST_PER_CORE * cores:
        raise PipelineError(
            f"params.yaml: compute.processes = {processes}: this machine has {cores} cores, which is enough for "
            f"{MOST_PER_CORE * cores} at most"
        )
    import logging
    from signal import SIGINT

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import DefaultLogsSpecs, LaunchConfig, elastic_launch

    # What it would say is said below, in a line.
    for talkative in ("agent.server", "multiprocessing"):
        logging.getLogger(f"torch.distributed.elastic.{talkative}.api").setLevel(logging.CRITICAL)
    defaults = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(max(1, cores // processes))}
    if sys.platform in LOOPBACK:
        defaults |= dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), LOOPBACK[sys.platform])
    defaults["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # or the agent would serve one for the processes
    for attempt in range(restarts + 1):
        with tempfile.TemporaryDirectory(prefix="mosaic-") as folder:  # for this user alone
            private = Path(folder)
            config = LaunchConfig(
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=processes,
                run_id=str(uuid.uuid4()),
                rdzv_backend="c10d",
                rdzv_endpoint=str(private / "rendezvous"),
                rdzv_configs={"store_type": "file"},
                local_addr="127.0.0.1",
                max_restarts=0,
                monitor_interval=0.1,
                logs_specs=DefaultLogsSpecs(log_dir=str(private / "reports")),
            )
            try:
                with _environment(defaults | {MEETING: str(private / "meeting")}):
                    elastic_launch(config, sys.executable)("-u", "-m", module, *arguments)
                return
            except SignalException as error:
                raise (KeyboardInterrupt() if error.sigval == SIGINT else Terminated(error.sigval)) from None
            except ChildFailedError as error:
                rank, failure = _cause(error.failures)
        reason = _reason(failure)
        if failure.exitcode == USER_ERROR:
            raise PipelineError(reason)
        if failure.exitcode == BROKEN_PIPE:
            raise BrokenPipeError(reason)
        said = f"training process {rank} of {processes} ended: {reason}"
        if attempt == restarts:
            raise PipelineError(f"{said}; the same command continues from the last checkpoint")
        print(f"{said}; starting again from the last checkpoint ({attempt + 1} of {restarts})", file=sys.stderr)


def reporting(main: Callable[[], None]) -> Callable[[], None]:
    """Return `main` for a command that torchrun may have started: it then tells its parent, in a file, how it failed.

    What can be mended, and what will not be another time, is left to the parent to say.
    """

    @functools.wraps(main)
    def recorded() -> None:
        if not launched():
            main()
            return

        from torch.distributed.elastic.multiprocessing.errors import record

        try:
            record(_explained(main))()
        except PipelineError:
            sys.exit(USER_ERROR)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except Terminated as error:
            sys.exit(error.code)
        except ProcessLost as error:
            print(error, file=sys.stderr)
            sys.exit(1)
        except BrokenPipeError:
            if reader_left():
                sys.exit(BROKEN_PIPE)
            raise
        except Exception as error:
            status, _ = explain(error, stage_of(main))
            sys.exit(status)

    return recorded


def _explained(main: Callable[[], None]) -> Callable[[], None]:
    """Return `main` so that whatever can be mended leaves it as a PipelineError, with the line to be said."""

    def explained() -> None:
        try:
            main()
        except (ProcessLost, BrokenPipeError):
            raise
        except Exception as error:
            if debugging():
                traceback.print_exception(error)
            status, line = explain(error, stage_of(main))
            if status == USER_ERROR and not isinstance(error, PipelineError):
                raise PipelineError(line) from error
            raise

    return explained


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for processes that start inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _cause(failures: Mapping[int, "ProcessFailure"]) -> tuple[int, "ProcessFailure"]:
    """Pick the failure that brought the others about: a mistake of the user's, a kill or defect, or else the first."""

    def order(rank: int) -> tuple:
        failure = failures[rank]
        killed = failure.exitcode < 0 and failure.signal_name() != "SIGTERM"
        ended = failure.exitcode in (DEFECT, BROKEN_PIPE)
        return failure.exitcode != USER_ERROR, not (killed or ended), failure.timestamp

    rank = min(failures, key=order)
    return rank, failures[rank]


def _reason(failure: "ProcessFailure") -> str:
    if failure.exitcode < 0:
        return f"killed by {failure.signal_name()}"
    if isinstance(failure.message, dict):
        message = one_line(failure.message["message"])
        # "PipelineError: breastmnist: ...", or one of its kinds -> the message alone
        if failure.exitcode == USER_ERROR:
            return message.partition(": ")[2]
        return f"{message} ({DEBUG}=1 shows the traceback)" if failure.exitcode == DEFECT else message
    return f"exit status {failure.exitcode}"
