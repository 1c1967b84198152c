import contextlib
import errno
import os
import signal

import pytest

from pipeline.command import TERMINATING, GracefulStop, Terminated, _raise_terminated, run_command
from pipeline.errors import PipelineError


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


def test_a_defect_keeps_its_traceback(handled):
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 / 0)


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
    handlers = dict.fromkeys(TERMINATING, _raise_terminated) | {signal.SIGINT: signal.default_int_handler}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("signum", "expected"),
    [(signal.SIGTERM, Terminated), (signal.SIGHUP, Terminated), (signal.SIGINT, KeyboardInterrupt)],
)
def test_the_first_signal_is_a_request_and_the_second_ends_at_once(handled, signum, expected):
    with GracefulStop() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signum)
        assert stop.requested
        assert isinstance(stop.exception, expected)
        with pytest.raises(expected):
            os.kill(os.getpid(), signum)


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
