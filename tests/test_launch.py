import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.command import TERMINATING
from pipeline.errors import PipelineError
from pipeline.launch import _cause, launch

ROOT = Path(__file__).parents[1]


def failure(exitcode: int, timestamp: int) -> SimpleNamespace:
    return SimpleNamespace(
        exitcode=exitcode,
        timestamp=timestamp,
        signal_name=lambda: signal.Signals(-exitcode).name if exitcode < 0 else "",
    )


@pytest.mark.parametrize(
    ("failures", "cause"),
    [
        # Exit status and time of each process. Who lost another may end before it is seen that the other was killed.
        ([(1, 3), (-9, 5), (-15, 4)], 1),
        ([(-15, 1), (1, 3), (-15, 2)], 0),
        ([(-9, 3), (1, 2), (2, 9)], 2),
        ([(1, 3), (1, 2)], 1),
        ([(-9, 4), (-11, 3)], 1),
    ],
)
def test_the_cause_is_a_mistake_before_a_kill_before_what_came_first(failures, cause):
    found = {rank: failure(*values) for rank, values in enumerate(failures)}
    assert _cause(found) == (cause, found[cause])


@pytest.fixture
def start(tmp_path, monkeypatch, capfd):
    """Launch two processes of a module with the given body; return what they and their parent printed on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGQUIT, *TERMINATING)}

    def run(body: str, restarts: int) -> str:
        (tmp_path / "task.py").write_text(f"import os, signal, sys, time\nfrom pathlib import Path\n\n{body}")
        launch("task", ["given", "7"], processes=2, restarts=restarts)
        return capfd.readouterr().err

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


DIES = """
Path(f"started-{os.environ['RANK']}-{time.monotonic_ns()}").touch()
if os.environ["RANK"] == "1" and MARKED:
    Path("marker").touch()
    os.kill(os.getpid(), signal.SIGKILL)
if MARKED:
    time.sleep(60)
assert sys.argv[1:] == ["given", "7"]
"""


def test_a_killed_process_is_named_and_all_start_again_from_the_checkpoint(start, tmp_path):
    printed = start(DIES.replace("MARKED", 'not Path("marker").exists()'), restarts=2)
    assert printed == (
        "training process 1 of 2 ended: killed by SIGKILL; starting again from the last checkpoint (1 of 2)\n"
    )
    assert [len(list(tmp_path.glob(f"started-{rank}-*"))) for rank in (0, 1)] == [2, 2]


def test_a_process_that_dies_every_time_is_an_error_after_the_allowed_restarts(start, tmp_path, capfd):
    said = "training process 1 of 2 ended: killed by SIGKILL; the same command continues from the last checkpoint"
    with pytest.raises(PipelineError) as error:
        start(DIES.replace("MARKED", "True"), restarts=2)
    assert str(error.value) == said
    printed = capfd.readouterr().err.splitlines()
    assert [line.rpartition("; ")[2] for line in printed] == [
        "starting again from the last checkpoint (1 of 2)",
        "starting again from the last checkpoint (2 of 2)",
    ]
    assert len(list(tmp_path.glob("started-1-*"))) == 3


REFUSES = """
from pipeline.command import run_command
from pipeline.errors import Diverged
from pipeline.launch import reporting

def main():
    Path(f"started-{os.environ['RANK']}-{time.monotonic_ns()}").touch()
    if os.environ["RANK"] == "1":
        raise Diverged("breastmnist: loss nan; lower train.lr")
    while True:
        time.sleep(0.1)

run_command(reporting(main))
"""


def test_a_users_mistake_in_a_process_is_one_line_and_no_reason_to_start_again(start, tmp_path, capfd):
    with pytest.raises(PipelineError) as error:
        start(REFUSES, restarts=2)
    assert str(error.value) == "breastmnist: loss nan; lower train.lr"
    assert len(list(tmp_path.glob("started-1-*"))) == 1
    assert capfd.readouterr().err == ""


def test_processes_that_succeed_are_started_once(start, tmp_path):
    assert start('Path(os.environ["RANK"]).write_text(os.environ["WORLD_SIZE"])', restarts=2) == ""
    assert {file.name: file.read_text() for file in tmp_path.glob("[01]")} == {"0": "2", "1": "2"}


def test_processes_share_the_cores_and_leave_the_environment_as_it_was(start, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    before = dict(os.environ)
    start('Path(f"threads-{os.environ[\'RANK\']}").write_text(os.environ["OMP_NUM_THREADS"])', restarts=0)
    assert {file.read_text() for file in tmp_path.glob("threads-*")} == {"3"}
    assert dict(os.environ) == before
