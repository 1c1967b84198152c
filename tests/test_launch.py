import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from mosaic_pipeline.command import TERMINATING
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.launch import _cause, launch, launched, local_rank

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
        ([(1, 2), (70, 3)], 1),
        ([(1, 2), (141, 3), (-15, 1)], 1),
        ([(70, 1), (2, 3)], 1),
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
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'pipeline'}")
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
from mosaic_pipeline.command import run_command
from mosaic_pipeline.errors import Diverged
from mosaic_pipeline.launch import reporting

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


FAILS = """
from mosaic_pipeline.command import run_command
from mosaic_pipeline.launch import reporting

def main():
    Path(f"started-{os.environ['RANK']}-{time.monotonic_ns()}").touch()
    if os.environ["RANK"] == "1":
        FAILURE
    while True:
        time.sleep(0.1)

run_command(reporting(main))
"""


def test_an_error_of_the_system_in_a_process_is_no_reason_to_start_again(start, tmp_path, capfd):
    with pytest.raises(PipelineError) as error:
        start(FAILS.replace("FAILURE", 'open("none/x.npy")'), restarts=2)
    assert str(error.value) == "none/x.npy: no such file or directory; `dvc repro` makes what a stage reads"
    assert len(list(tmp_path.glob("started-1-*"))) == 1
    assert capfd.readouterr().err == ""


def test_what_is_not_foreseen_in_a_process_is_a_line_that_says_how_to_see_more(start, tmp_path, capfd):
    with pytest.raises(PipelineError) as error:
        start(FAILS.replace("FAILURE", "{}['a\\nb']"), restarts=1)
    said = "training process 1 of 2 ended: KeyError: 'a\\nb' (MOSAIC_DEBUG=1 shows the traceback); "
    assert str(error.value) == f"{said}the same command continues from the last checkpoint"
    assert capfd.readouterr().err == f"{said}starting again from the last checkpoint (1 of 1)\n"
    assert len(list(tmp_path.glob("started-1-*"))) == 2


def test_more_processes_than_cores_can_serve_are_refused_at_once(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with pytest.raises(PipelineError, match=r"compute\.processes = 9: this machine has 2 cores, .* 8 at most$"):
        launch("task", [], processes=9, restarts=0)


TORCHRUN = {"LOCAL_RANK": "1", "RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "host", "MASTER_PORT": "29400"}


@pytest.fixture
def environment(monkeypatch):
    """Set the given variables of torchrun's and no other."""

    def become(variables: dict[str, str]) -> None:
        for name in TORCHRUN:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return become


def test_a_process_of_torchruns_knows_itself_by_its_environment(environment):
    environment({})
    assert (launched(), local_rank()) == (False, 0)
    environment(TORCHRUN)
    assert (launched(), local_rank()) == (True, 1)


@pytest.mark.parametrize("value", [None, "", "one", "-1", "1.5", "²"])
@pytest.mark.parametrize("name", [name for name in TORCHRUN if name != "LOCAL_RANK"])
def test_an_environment_that_is_only_half_torchruns_is_one_line(environment, name, value):
    if name == "MASTER_ADDR" and value:
        value = None  # any text may be an address
    environment({key: text for key, text in (TORCHRUN | {name: value}).items() if text is not None})
    said = rf"^LOCAL_RANK is set .* but {name} is (not|'.*', no number); unset LOCAL_RANK"
    with pytest.raises(PipelineError, match=said):
        launched()


def test_a_number_of_the_process_that_is_none_is_one_line(environment):
    environment(TORCHRUN | {"LOCAL_RANK": "one"})
    with pytest.raises(PipelineError, match="LOCAL_RANK is 'one', no number"):
        local_rank()


def test_processes_that_succeed_are_started_once(start, tmp_path):
    assert start('Path(os.environ["RANK"]).write_text(os.environ["WORLD_SIZE"])', restarts=2) == ""
    assert {file.name: file.read_text() for file in tmp_path.glob("[01]")} == {"0": "2", "1": "2"}


def test_processes_share_the_cores_and_leave_the_environment_as_it_was(start, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    before = dict(os.environ)
    start('Path(f"threads-{os.environ[\'RANK\']}").write_text(os.environ["OMP_NUM_THREADS"])', restarts=0)
    assert {file.read_text() for file in tmp_path.glob("threads-*")} == {"3"}
    assert dict(os.environ) == before
