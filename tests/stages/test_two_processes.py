"""Training in two processes, as a user meets it: the results of one, and what happens when one of them dies."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pandas as pd
import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file
from small import Repository, copied, read_until

# Batches of seven are four images for one process and three for the other.
CHANGE = {"train": {"num_rounds": 3, "batch_size": 7}, "compute": {"device": "cpu", "processes": 2}}
FILES = ("model.safetensors", "history.csv", "conflicts.json", "train.json")
COMMAND = ("python", "-m", "stages.train", "mosaic", "42")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Repository:
    """A small pipeline with all that training reads, configured for two processes."""
    repository = copied(tmp_path_factory.mktemp("two"), CHANGE)
    repository.environment["OMP_NUM_THREADS"] = "1"
    repository.run("dvc", "repro", "tune@mosaic")
    return repository


@pytest.fixture(scope="module")
def watched(prepared) -> set[str]:
    """Train in two processes without an interruption; return the addresses at which any of them listened."""
    addresses: set[str] = set()
    with started(prepared) as process, watching(process.pid, addresses):
        printed, _ = process.communicate()
    assert process.returncode == 0, printed
    return addresses


@pytest.fixture(scope="module")
def whole(prepared, watched) -> dict[str, bytes]:
    """The files of an uninterrupted training in two processes."""
    return files(prepared)


@contextmanager
def watching(pid: int, addresses: set[str]) -> Iterator[None]:
    """Collect, until the body is done, the addresses at which a process or one below it listens."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            with suppress(psutil.NoSuchProcess):
                parent = psutil.Process(pid)
                for process in (parent, *parent.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                        found = process.net_connections(kind="inet")
                        addresses.update(each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def files(repository: Repository) -> dict[str, bytes]:
    folder = repository.folder / "runs/mosaic/42"
    return {name: (folder / name).read_bytes() for name in FILES}


def left_over(repository: Repository) -> list:
    return list((repository.folder / ".cache/checkpoints").glob("*/*"))


@contextmanager
def one_new_run(repository: Repository) -> Iterator[None]:
    """Expect that the body adds one training run to MLflow, which ends well, and leaves no checkpoint."""
    before = {run.info.run_id for run in repository.runs(stage="train")}
    yield
    (new,) = [run for run in repository.runs(stage="train") if run.info.run_id not in before]
    assert new.info.status == "FINISHED"
    assert "error" not in new.data.tags
    assert not left_over(repository)


@contextmanager
def started(repository: Repository) -> Iterator[subprocess.Popen]:
    """Start the stage; its output, both streams, is to be read from the process."""
    process = subprocess.Popen(
        [sys.executable, *COMMAND[1:]],
        cwd=repository.folder,
        env=repository.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def worker(process: subprocess.Popen, rank: int) -> int:
    """Return the process id of a training process."""
    (found,) = [
        child.pid for child in psutil.Process(process.pid).children() if child.environ().get("RANK") == str(rank)
    ]
    return found


def test_nobody_off_this_machine_can_reach_a_training_in_two_processes(watched):
    # Gloo's sockets, between the two.
    assert watched == {"127.0.0.1"}


def test_two_processes_come_to_the_losses_scores_and_tensors_of_one(prepared, whole, tmp_path):
    (run,) = prepared.runs(stage="train")
    assert (run.info.status, run.data.tags["processes"]) == ("FINISHED", "2")
    assert not left_over(prepared)

    params = prepared.folder / "params.yaml"
    committed = params.read_text()
    params.write_text(committed.replace("processes: 2", "processes: 1"))
    with one_new_run(prepared):
        prepared.run(*COMMAND)
    params.write_text(committed)
    alone = files(prepared)

    tables = []
    for each in (whole, alone):
        (tmp_path / "history.csv").write_bytes(each["history.csv"])
        tables.append(pd.read_csv(tmp_path / "history.csv"))
    assert len(tables[0]) == 3
    for column in tables[1]:
        tolerance = {"rtol": 1e-4, "atol": 0} if column.endswith(("loss", "lr")) else {"rtol": 0, "atol": 1e-3}
        two, one = (torch.tensor(table[column].to_numpy(), dtype=torch.float64) for table in tables)
        torch.testing.assert_close(two, one, **tolerance, msg=lambda text, column=column: f"{column}: {text}")
    tensors = []
    for each in (whole, alone):
        (tmp_path / "model.safetensors").write_bytes(each["model.safetensors"])
        tensors.append(load_file(tmp_path / "model.safetensors"))
    assert tensors[0].keys() == tensors[1].keys()
    for name, tensor in tensors[0].items():
        torch.testing.assert_close(tensor, tensors[1][name], rtol=1e-3, atol=1e-4, msg=name)


def test_tuning_trains_as_the_training_does_and_goes_on_after_a_candidate_that_diverged(prepared, whole):
    params = prepared.folder / "params.yaml"
    committed = params.read_text()
    tree = yaml.safe_load(committed)
    rate = tree["train"]["lr"]
    tree["ablation"]["tune"] = {"variants": ["mosaic"], "grid": {"train.lr": [1e30, rate]}, "seed": 42}
    params.write_text(yaml.safe_dump(tree, sort_keys=False))
    config = prepared.folder / "configs/mosaic.yaml"
    untuned = config.read_bytes()
    prepared.run("python", "-m", "stages.configure", "mosaic")
    prepared.run("python", "-m", "stages.tune", "mosaic")
    params.write_text(committed)
    tuning = json.loads((prepared.folder / "tuning/mosaic.json").read_text())
    assert (tuning["chosen"], tuning["candidates"][0]["score"]) == (1, None)
    assert tuning["candidates"][1]["score"] == json.loads(whole["train.json"])["score"]
    assert config.read_bytes() == untuned
    assert [run.data.tags["processes"] for run in prepared.runs(stage="tune")] == ["2", "2"]
    assert not left_over(prepared)


def test_a_training_that_is_terminated_and_then_loses_a_process_ends_with_the_files_of_an_uninterrupted_one(
    prepared, whole
):
    with one_new_run(prepared):
        with started(prepared) as process:
            read_until(process, "round 1/3")
            workers = [worker(process, rank) for rank in (0, 1)]
            process.terminate()
            printed, _ = process.communicate()
        assert process.returncode == 128 + signal.SIGTERM
        assert printed.count("the same command continues from here") == 1
        assert "Traceback" not in printed
        assert not any(psutil.pid_exists(pid) for pid in workers)
        assert left_over(prepared)

        with started(prepared) as process:
            read_until(process, "continuing in round ")
            os.kill(worker(process, 1), signal.SIGKILL)
            printed, _ = process.communicate()
        assert process.returncode == 0, printed
        assert [line for line in printed.splitlines() if line.startswith("training process")] == [
            "training process 1 of 2 ended: killed by SIGKILL; starting again from the last checkpoint (1 of 3)"
        ]
        assert "continuing in round " in printed
        assert "Traceback" not in printed
    assert files(prepared) == whole
