import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mosaic_pipeline import command
from mosaic_pipeline.command import TERMINATING, GracefulStop, Terminated, run_command, terminating
from mosaic_pipeline.errors import PipelineError


def ending(capsys, action) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stopped:
        run_command(action)
    return stopped.value.code, capsys.readouterr().err


def raising(error: BaseException):
    def action() -> None:
        raise error

    return action


def test_a_mendable_error_is_one_line_and_status_2(capsys):
    assert ending(capsys, raising(PipelineError("a.yaml: b = 0: at least 1"))) == (
        2,
        "error: a.yaml: b = 0: at least 1\n",
    )


def test_a_full_disk_is_one_line_and_status_2(capsys):
    code, line = ending(capsys, raising(OSError(errno.ENOSPC, "No space left on device", "big.npy")))
    assert code == 2
    assert line.startswith("error: big.npy: no space left")
    assert line.count("\n") == 1


def test_interrupt_and_sigterm_have_the_status_a_shell_expects(capsys):
    assert ending(capsys, raising(KeyboardInterrupt()))[0] == 130
    assert ending(capsys, lambda: os.kill(os.getpid(), signal.SIGTERM))[0] == 143


def test_a_closed_terminal_ends_a_command_with_the_status_of_its_signal(capsys, handled):
    assert ending(capsys, lambda: os.kill(os.getpid(), signal.SIGHUP)) == (129, "terminated (SIGHUP)\n")


def test_what_is_not_foreseen_is_one_line_and_status_70(capsys, handled):
    code, line = ending(capsys, lambda: 1 / 0)
    assert code == 70
    assert line.startswith("error: test_command: ZeroDivisionError: division by zero; ")
    assert line.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("no"), PipelineError("no"), OSError(errno.EIO, "no", "file")])
def test_the_traceback_of_any_error_can_be_asked_for(capsys, handled, monkeypatch, error):
    silent = ending(capsys, raising(error))
    monkeypatch.setenv("MOSAIC_DEBUG", "0")
    assert ending(capsys, raising(error)) == silent
    monkeypatch.setenv("MOSAIC_DEBUG", "1")
    code, printed = ending(capsys, raising(error))
    assert code == silent[0]
    assert printed.startswith("Traceback (most recent call last):\n")
    assert printed.endswith(f"\n{silent[1]}")


@pytest.fixture
def stdout(monkeypatch):
    """Stand a descriptor in for stdout."""
    files = []

    def become(descriptor: int) -> None:
        files.append(os.fdopen(descriptor, "w"))
        monkeypatch.setattr(sys, "stdout", files[-1])

    yield become
    for file in files:
        file.close()  # would raise where something is left to be written


@pytest.mark.parametrize("length", [1, 100_000])
def test_a_reader_that_left_ends_a_command_quietly_with_the_status_of_its_signal(capsys, handled, stdout, length):
    reader, writer = os.pipe()
    os.close(reader)
    stdout(writer)
    assert ending(capsys, lambda: print("x" * length)) == (141, "")


def test_another_broken_pipe_is_told(capsys, handled, stdout):
    reader, writer = os.pipe()
    stdout(writer)
    code, line = ending(capsys, raising(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    assert (code, line.partition("; ")[0]) == (2, "error: the system: broken pipe")
    os.close(reader)


def test_output_that_finds_no_space_is_told_once(capsys, handled, stdout, tmp_path):
    stdout(os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        code, line = ending(capsys, lambda: print("x"))
        assert (code, line.partition(";")[0]) == (2, "error: the system: file too large")
        sys.stdout.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


ROOT = Path(__file__).parents[1]


def import_of_check(tmp_path, body: str) -> subprocess.CompletedProcess:
    """Run a stage where the import of a library that it needs does `body`."""
    (tmp_path / "pydantic.py").write_text(f"import os, signal\n{body}\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "stages.check"]
    # A shell's `&` would have the signal ignored.
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_imports_ends_a_command_without_a_word(tmp_path, signum):
    ended = import_of_check(tmp_path, f"os.kill(os.getpid(), {signum.value})")
    assert (ended.returncode, ended.stderr) == (-signum, "")


def test_an_import_that_fails_is_one_line(tmp_path):
    ended = import_of_check(tmp_path, "import no_such_package")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: No module named 'no_such_package'; in a checkout: activate the environment")
    assert ended.stderr.count("\n") == 1
    ended = import_of_check(tmp_path, "1 / 0")
    assert ended.returncode == 70
    assert ended.stderr.startswith("error: check: ZeroDivisionError: division by zero")
    assert ended.stderr.count("\n") == 1


def test_a_command_that_is_over_handles_no_signal_any_more(handled):
    # Its handler would raise in whatever the interpreter does last, which prints a traceback.
    for action in (lambda: None, raising(PipelineError("no")), raising(Terminated())):
        for signum in TERMINATING:
            signal.signal(signum, signal.SIG_DFL)
        with contextlib.suppress(SystemExit):
            run_command(action)
        assert {signal.getsignal(signum) for signum in TERMINATING} == {signal.SIG_DFL}


@pytest.fixture
def handled():
    """Handlers as in a stage at a terminal: a test run in the background inherits ignored signals."""
    handlers = dict.fromkeys(TERMINATING, terminating()) | {signal.SIGINT: signal.default_int_handler}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("signum", "expected"),
    [(signal.SIGTERM, Terminated), (signal.SIGHUP, Terminated), (signal.SIGINT, KeyboardInterrupt)],
)
def test_the_first_signal_is_a_request_and_the_second_ends_at_once(handled, monkeypatch, signum, expected):
    monkeypatch.setattr(command, "SAME_REQUEST", 0)
    with GracefulStop() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signum)
        assert stop.requested
        assert isinstance(stop.exception, expected)
        with pytest.raises(expected):
            os.kill(os.getpid(), signum)


@pytest.mark.parametrize("signum", TERMINATING)
def test_a_signal_that_a_cluster_sends_and_a_script_passes_on_is_one_request(handled, signum):
    with GracefulStop() as stop:
        for _ in range(3):
            os.kill(os.getpid(), signum)
        assert stop.requested
    handler = terminating()
    with pytest.raises(Terminated):
        handler(signum, None)
    handler(signum, None)  # while files and runs are closed


def test_a_requested_stop_ends_with_the_status_of_its_signal(handled):
    statuses = {}
    for signum in TERMINATING:
        with GracefulStop() as stop:
            os.kill(os.getpid(), signum)
            statuses[signum] = stop.exception.code
    assert statuses == {signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_a_signal_that_was_ignored_stays_ignored(handled, signum):
    signal.signal(signum, signal.SIG_IGN)
    with GracefulStop() as stop:
        os.kill(os.getpid(), signum)
        assert not stop.requested
        assert signal.getsignal(signum) == signal.SIG_IGN
    assert signal.getsignal(signum) == signal.SIG_IGN
    # Nor does a command take it over.
    run_command(lambda: os.kill(os.getpid(), signum))
