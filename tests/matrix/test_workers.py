"""An ablation on one machine with two workers: told to stop, killed, and finished."""

import signal
import subprocess

import psutil
import pytest
from held import Held
from small import copied

CHANGE = {
    "data": {"datasets": ["breastmnist", "retinamnist"]},
    "specialists": ["A", "B"],
    "seeds": [1, 2],
    "ablation": {"run": ["linear_probe"], "analyse": []},
}
TRAININGS = ("linear_probe-1", "linear_probe-2")


@pytest.fixture(scope="module")
def held(tmp_path_factory) -> Held:
    folder = tmp_path_factory.mktemp("workers")
    return Held(copied(folder / "project", CHANGE), folder / "hooks")


def started(held: Held) -> subprocess.Popen:
    """Start two workers; return when both hold a training."""
    command = ["python", "-m", "stages.matrix", "local", "--workers", "2"]
    process = subprocess.Popen(
        command,
        cwd=held.project.folder,
        env=held.project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    held.wait_until_held(*TRAININGS)
    return process


def test_workers_that_are_stopped_or_killed_are_gone_on_from(held):
    held.hold(*TRAININGS)
    process = started(held)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate()
    assert process.returncode == 143, said
    assert held.states() == {"recognition": "done"} | dict.fromkeys(TRAININGS, "missing")
    assert held.folders() == []

    process = started(held)
    for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        each.kill()
    process.communicate()
    assert held.states() == {"recognition": "done"} | dict.fromkeys(TRAININGS, "failed")
    assert held.folders() == [f"cell-{name}" for name in TRAININGS]
    said = held.matrix("assemble", fails=True)
    assert said.startswith("error: linear_probe-1, linear_probe-2: not done")

    for name in TRAININGS:
        held.release(name)
    said = held.matrix("local", "--workers", "2")
    assert "3 cells: 1 done, 2 failed" in said
    assert held.states() == {"recognition": "done"} | dict.fromkeys(TRAININGS, "done")
    assert held.folders() == []


def test_it_ends_as_one_run_of_dvc_would_with_nothing_left_to_do(held):
    held.project.run("dvc", "checkout")
    assert "Data and pipelines are up to date." in held.project.run("dvc", "status")
    assert (held.project.folder / "reports/index.html").exists()
    client = held.project.client()
    for seed in ("1", "2"):
        (training,) = held.project.runs(stage="train", seed=seed)
        assert training.info.status == "FINISHED"
        assert [point.step for point in client.get_metric_history(training.info.run_id, "train_loss")] == [1, 2]


def test_a_cell_that_is_done_is_left_alone(held):
    before = len(held.project.search(""))
    assert held.matrix("cell", "1") == "linear_probe-1: there already\n"
    assert len(held.project.search("")) == before
