"""An ablation on a real Slurm: preempted, at its time limit, cancelled, failed and killed, it is one machine's."""

import re
import shutil
from pathlib import Path

import psutil
import pytest
import slurm
import yaml
from held import Held
from needs import needs
from slurm import wait_for
from small import Repository, copied

CHANGE = {
    "data": {"datasets": ["breastmnist", "retinamnist"]},
    "specialists": ["A", "B"],
    "seeds": [1, 2],
    "train": {"num_rounds": 3},
}
NOTICE = "--signal=B:TERM@70"  # seconds; Slurm looks twice a minute


class Ablation(Held):
    """A project whose trainings a test holds, and the cluster that it is submitted to."""

    def __init__(self, project: Repository, cluster: slurm.Slurm, hooks: Path) -> None:
        super().__init__(project, hooks)
        self.cluster = cluster
        project.environment |= {"SLURM_CONF": cluster.environment["SLURM_CONF"]}
        self.seen: dict[str, str] = {}

    def wait_until_gone(self, *numbers: int) -> None:
        """Wait until Slurm has these cells in its queue no more."""
        wait_for(lambda: not {f"{self.array}_{number}" for number in numbers} & set(self.cluster.tasks()), f"{numbers}")

    def submit(self) -> str:
        said = self.matrix("submit", "--partition", "gpu", "--at-once", "4", "--", NOTICE)
        found = re.search(r"submitted as array (\d+)", said)
        self.array = found[1] if found else None
        return said

    def bring_to_its_limit(self, number: int) -> None:
        """Let the time limit of a running task be a minute away, or two."""
        task = f"{self.array}_{number}"
        used = self.cluster.run("squeue", "--noheader", f"--jobs={task}", "--format=%M")  # 3:07
        self.cluster.run("scontrol", "update", f"JobId={task}", f"TimeLimit={int(used.split(':')[-2]) + 2}")


@pytest.fixture(scope="module")
def cluster():
    """A Slurm, where there is one to be had."""
    missing = slurm.lacking()
    needs(not missing, f"no {', '.join(missing)} on this machine, so an ablation cannot be submitted")
    with slurm.running() as running:
        yield running


@pytest.fixture(scope="module")
def ablation(cluster, tmp_path_factory) -> Ablation:
    """An ablation that had a bad day, and was submitted until it was done; `seen` is what was to be seen meanwhile."""
    folder = tmp_path_factory.mktemp("ablation")
    run = Ablation(copied(folder / "project", CHANGE), cluster, folder / "hooks")
    params = run.project.folder / "params.yaml"
    committed = params.read_text()

    # Cells are 0 recognition, 1 mosaic-1, 2 mosaic-2, 3 linear_probe-1, 4 linear_probe-2.
    run.hold("mosaic-1", "mosaic-2", "linear_probe-2")
    (run.hooks / "fail/train@linear_probe-1").touch()
    run.submit()
    run.seen["second submission"] = run.matrix("submit")
    params.write_text(committed.replace("num_rounds: 3", "num_rounds: 1"))
    run.seen["gpus"] = " ".join(run.wait_until_held("mosaic-1", "mosaic-2", "linear_probe-2"))
    for _ in range(2):
        cluster.preempt()
        run.wait_until_held("mosaic-1", "mosaic-2", "linear_probe-2")
    wait_for(lambda: run.states()["linear_probe-1"] == "failed", "a failure")
    run.seen["status"] = run.matrix("status")
    cluster.run("scancel", f"{run.array}_4")
    run.release("mosaic-1")
    run.bring_to_its_limit(2)
    run.wait_until_held("mosaic-2")  # queued again by itself
    run.release("mosaic-2")
    run.wait_until_gone(1, 2, 4)
    run.seen["after the first"] = run.matrix("status")
    wait_for(lambda: not cluster.tasks(), "the report's job to end")
    run.seen["report without two"] = next(run.project.folder.glob(".cache/matrix/*/logs/report.log")).read_text()
    run.seen["assemble without two"] = run.matrix("assemble", fails=True)
    run.seen["queue after that"] = str(cluster.tasks())

    params.write_text(committed)
    (run.hooks / "fail/train@linear_probe-1").unlink()
    run.seen["what is missing"] = run.submit()
    run.wait_until_held("linear_probe-2")
    run.wait_until_gone(3)
    (driver,) = [process for process in psutil.process_iter(["cmdline"]) if _is_cell(process, 4)]
    driver.kill()
    run.wait_until_gone(4)
    run.seen["killed"] = run.matrix("status")
    run.seen["folders of the killed"] = " ".join(run.folders())
    run.release("linear_probe-2")
    run.submit()
    wait_for(lambda: not cluster.tasks(), "the end")
    run.seen["the end"] = run.matrix("status")
    return run


def _is_cell(process: psutil.Process, number: int) -> bool:
    return (process.info["cmdline"] or [])[1:] == ["-m", "stages.matrix", "cell", str(number)]


@pytest.fixture(scope="module")
def serial(ablation, tmp_path_factory) -> Repository:
    """The same commit, brought up to date by DVC on one machine, with a cache of its own."""
    folder = tmp_path_factory.mktemp("serial")
    shutil.rmtree(folder)
    ablation.project.run("git", "clone", "-q", ".", str(folder))
    repository = Repository(folder)
    repository.run("dvc", "repro")
    return repository


def test_it_ends_with_the_files_of_one_machine_byte_for_byte(ablation, serial):
    assert (ablation.project.folder / "dvc.lock").read_bytes() == (serial.folder / "dvc.lock").read_bytes()
    names = {path.relative_to(serial.folder) for path in (serial.folder / "reports").rglob("*") if path.is_file()}
    assert names == {
        path.relative_to(ablation.project.folder)
        for path in (ablation.project.folder / "reports").rglob("*")
        if path.is_file()
    }
    for name in names:
        assert (ablation.project.folder / name).read_bytes() == (serial.folder / name).read_bytes(), name
    ablation.project.run("dvc", "checkout")
    assert "Data and pipelines are up to date." in ablation.project.run("dvc", "status")


def test_each_training_is_one_finished_run_with_every_round_once_and_its_tests_below_it(ablation):
    client = ablation.project.client()
    for variant in ("mosaic", "linear_probe"):
        for seed in ("1", "2"):
            (training,) = ablation.project.runs(stage="train", variant=variant, seed=seed)
            assert training.info.status == "FINISHED"
            steps = [point.step for point in client.get_metric_history(training.info.run_id, "train_loss")]
            assert steps == [1, 2, 3]
            tests = ablation.project.runs(stage="evaluate", variant=variant, seed=seed)
            assert {run.data.tags["mlflow.parentRunId"] for run in tests} == {training.info.run_id}


def test_what_is_queued_or_done_is_not_submitted_again(ablation):
    assert "submitted as array" not in ablation.seen["second submission"]
    assert "2 submitted as array" in ablation.seen["what is missing"]
    assert "all cells are done" in ablation.matrix("submit")
    assert ablation.cluster.tasks() == {}


def test_each_task_sees_a_gpu_of_its_own(ablation):
    seen = ablation.seen["gpus"].split()
    assert len(set(seen)) == 3
    assert all(name.isdigit() for name in seen)


def test_parameters_that_change_later_reach_no_cell(ablation):
    config = yaml.safe_load((ablation.project.folder / "configs/mosaic.yaml").read_text())
    assert config["train"]["num_rounds"] == 3  # and the rounds that were logged are three


def test_a_cell_that_fails_leaves_the_others_and_says_why(ablation):
    (line,) = [line for line in ablation.seen["status"].splitlines() if "linear_probe-1" in line]
    assert line.split(maxsplit=3)[2:] == ["failed", "this training was told to fail"]
    assert ablation.seen["status"].splitlines()[-1] == "5 cells: 1 done, 3 running, 1 failed"


def test_a_cancelled_cell_stays_cancelled_and_can_go_on(ablation):
    (line,) = [line for line in ablation.seen["after the first"].splitlines() if "linear_probe-2" in line]
    assert line.split(maxsplit=3)[2] == "missing"
    assert "it goes on from its checkpoint" in line


def test_what_is_missing_is_named_and_nothing_is_started_for_it(ablation):
    for said in (ablation.seen["report without two"], ablation.seen["assemble without two"]):
        assert said.splitlines()[-1].startswith("error: linear_probe-1, linear_probe-2: not done")
    assert ablation.seen["queue after that"] == "{}"


def test_a_killed_cell_is_told_and_leaves_no_folder(ablation):
    (line,) = [line for line in ablation.seen["killed"].splitlines() if "linear_probe-2" in line]
    assert line.split(maxsplit=3)[2] == "failed"
    assert "killed on" in line
    assert ablation.seen["folders of the killed"] == "cell-linear_probe-2"
    assert ablation.folders() == []
    assert ablation.seen["the end"].splitlines()[-1] == "5 cells: 5 done"


def test_signals_and_limits_brought_cells_back(ablation):
    logs = {path.stem: path.read_text() for path in ablation.project.folder.glob(".cache/matrix/*/logs/*.log")}
    stopped = {number: log.count("stopped in round") for number, log in logs.items()}
    assert stopped["1"] >= 2  # preempted twice
    assert stopped["2"] >= 3  # and at its time limit
    assert "DUE TO PREEMPTION" in logs["1"]
    assert "terminated (SIGTERM)" in logs["2"]
