import errno
import os
import signal

import pytest

from pipeline.command import GracefulStop, Terminated, _raise_terminated, run_command
from pipeline.errors import PipelineError


def ending(capsys, action) -> tuple[int, str]:
    previous = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as stopped:
            run_command(action)
    finally:
        signal.signal(signal.SIGTERM, previous)
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


def test_a_defect_keeps_its_traceback():
    previous = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 / 0)
    signal.signal(signal.SIGTERM, previous)


@pytest.mark.parametrize(("signum", "expected"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_the_first_signal_is_a_request_and_the_second_ends_at_once(signum, expected):
    # Set both: a test run in the background inherits an ignored SIGINT.
    handlers = {signal.SIGTERM: _raise_terminated, signal.SIGINT: signal.default_int_handler}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    with GracefulStop() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signum)
        assert stop.requested
        assert isinstance(stop.exception, expected)
        with pytest.raises(expected):
            os.kill(os.getpid(), signum)
    for number, handler in previous.items():
        signal.signal(number, handler)
