"""Cells on one machine: a share of the GPUs for each worker, and signals that reach all that a cell started."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mosaic_pipeline.command import Terminated
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.matrix.local import devices, share
from mosaic_pipeline.matrix.process import run_passing_signals


@pytest.mark.parametrize(
    ("found", "workers", "processes", "shares"),
    [
        ("0123", None, 1, ["0", "1", "2", "3"]),
        ("0123", 2, 1, ["0", "1"]),
        ("0123", None, 2, ["0,1", "2,3"]),
        ("", None, 1, [None]),
        ("", 3, 2, [None, None, None]),
    ],
)
def test_each_worker_has_gpus_of_its_own(found, workers, processes, shares):
    assert share(list(found), workers, processes) == shares


@pytest.mark.parametrize(("workers", "processes"), [(5, 1), (3, 2), (None, 8)])
def test_workers_that_would_share_a_gpu_are_refused(workers, processes):
    with pytest.raises(PipelineError, match=r"--workers .*the 4 here are enough for"):
        share(list("0123"), workers, processes)


def test_gpus_are_those_that_may_be_seen(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert devices() == ["3", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices() == []


FAMILY = """
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", '''
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.3)  # it saves its work
    pathlib.Path("saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
signal.pause()
'''])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends before its child
signal.pause()
"""


def test_a_signal_reaches_all_and_they_are_waited_for(tmp_path, capsys):
    def tell() -> None:
        while "ready" not in capsys.readouterr().out:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=tell)
    before = signal.getsignal(signal.SIGTERM)
    thread.start()
    with pytest.raises(Terminated):
        run_passing_signals([sys.executable, "-c", FAMILY], tmp_path, os.environ)
    thread.join()
    assert (tmp_path / "saved").exists()
    assert signal.getsignal(signal.SIGTERM) == before


class Full:
    """A log on a disk without room."""

    def write(self, text):
        raise OSError(28, "No space left on device")

    def flush(self):
        pass


def test_work_goes_on_without_its_log(tmp_path, monkeypatch):
    script = "print('a', flush=True); print('b' * 100_000); open('made', 'w').close()"
    monkeypatch.setattr(sys, "stdout", Full())
    assert run_passing_signals([sys.executable, "-c", script], tmp_path, os.environ)[0] == 0
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("error: a.npz: no such file\nERROR: failed to reproduce 'x'\n", "a.npz: no such file"),
        ("ERROR: failed to reproduce 'x'\n\n", "failed to reproduce 'x'"),
        ("Killed\n", "Killed"),
        ("", "exit status 3"),
    ],
)
def test_the_reason_for_a_failure_is_the_line_that_says_it(tmp_path, printed, said):
    script = f"import sys; print({printed!r}, end=''); sys.exit(3)"
    assert run_passing_signals([sys.executable, "-c", script], tmp_path, os.environ) == (3, said)


ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "error: the following arguments are required: submit"),
        (("begin",), "error: argument submit"),
        (("cell",), "error: the following arguments are required: number"),
        (("local", "--workers", "0"), "error: argument --workers: at least 1"),
        (("cell", "-1"), "error: argument number: '-1' is no whole number"),
        (("submit", "--gpus", "-1"), "error: argument --gpus: '-1' is no whole number"),
        (("submit", "--at-once", "many"), "error: argument --at-once: 'many' is no whole number"),
    ],
)
def test_a_wrong_command_line_is_one_line(arguments, said):
    ended = subprocess.run(
        [sys.executable, "-m", "stages.matrix", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert ended.stderr.startswith(said)
