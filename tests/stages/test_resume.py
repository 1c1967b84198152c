"""Training that is killed, as a user meets it: the same command goes on, and ends with the same files."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import Repository, copied

OUTPUTS = ("model.safetensors", "history.csv", "train.json")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Repository:
    """A small pipeline with all that training reads, enough rounds to be interrupted, and several steps a visit."""
    repository = copied(tmp_path_factory.mktemp("resume"), {"train": {"num_rounds": 6, "batch_size": 4}})
    repository.run("dvc", "repro", "cache", "weights", "configure@mosaic")
    return repository


def trained(repository: Repository) -> dict[str, str]:
    """Run the training to its end and return the md5 of each of its files."""
    repository.run("python", "-m", "stages.train", "mosaic", "42")
    folder = repository.folder / "runs/mosaic/42"
    return {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in OUTPUTS}


def interrupted(repository: Repository, signum: int) -> tuple[int, str]:
    """Start the training, send a signal once it has written a new checkpoint; return exit status and output."""
    before = checkpoints(repository)
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.train", "mosaic", "42"],
        cwd=repository.folder,
        env=repository.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while process.poll() is None and checkpoints(repository) <= before:
        time.sleep(0.01)
    process.send_signal(signum)
    printed, _ = process.communicate()
    return process.returncode, printed


def checkpoints(repository: Repository) -> set[Path]:
    return set((repository.folder / ".cache/checkpoints").glob("*/[0-9]*.safetensors"))


def test_a_training_killed_twice_and_terminated_once_ends_with_the_files_of_an_uninterrupted_one(prepared):
    whole = trained(prepared)
    assert not checkpoints(prepared)
    (first,) = prepared.runs(stage="train")

    for _ in range(2):
        assert interrupted(prepared, signal.SIGKILL)[0] == -signal.SIGKILL
    code, printed = interrupted(prepared, signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    assert "the same command continues" in printed
    assert "Traceback" not in printed
    (second,) = [run for run in prepared.runs(stage="train") if run.info.run_id != first.info.run_id]
    assert second.info.status == "FAILED"
    assert sorted(checkpoints(prepared))[-1].stat().st_size > 0

    newest = sorted(checkpoints(prepared))[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    assert trained(prepared) == whole
    # The run was continued rather than doubled, and nothing is left that another training could pick up.
    assert {run.info.run_id: run.info.status for run in prepared.runs(stage="train")} == {
        first.info.run_id: "FINISHED",
        second.info.run_id: "FINISHED",
    }
    assert not checkpoints(prepared)


def test_another_configuration_does_not_continue_from_an_interrupted_training(prepared):
    interrupted(prepared, signal.SIGKILL)
    assert checkpoints(prepared)
    config = prepared.folder / "configs/mosaic.yaml"
    text = config.read_text()
    os.replace(config, config.with_suffix(".kept"))
    config.write_text(text.replace("lr: 0.001", "lr: 0.002"))
    printed = prepared.run("python", "-m", "stages.train", "mosaic", "42")
    assert "continuing" not in printed
    assert "round 1/6" in printed
    os.replace(config.with_suffix(".kept"), config)
