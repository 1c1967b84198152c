"""Training that is killed, as a user meets it: the same command goes on, and ends with the same files."""

import contextlib
import os
import random
import shutil
import signal

import psutil
import pytest
from interrupted import Training, start
from small import Repository, copied, read_until

# Random kills; MOSAIC_KILLS=20 looks harder than a test run has time for.
KILLS = int(os.environ.get("MOSAIC_KILLS", "2"))
OUTPUTS = ("model.safetensors", "history.csv", "conflicts.json", "train.json")
ROUNDS = 4


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Repository:
    """A small pipeline with all that training reads, enough rounds to be interrupted, and several steps a visit."""
    repository = copied(tmp_path_factory.mktemp("resume"), {"train": {"num_rounds": ROUNDS, "batch_size": 4}})
    repository.environment["PYTHONUNBUFFERED"] = "1"  # its lines tell when to interrupt
    repository.run("dvc", "repro", "tune@mosaic")
    repository.commit("inputs of the training")
    return repository


@pytest.fixture(scope="module")
def training(prepared) -> Training:
    """The training of one variant and seed in that pipeline."""
    stage = ("stages.train", "mosaic", "42")
    return Training(prepared.folder, prepared.environment, stage, prepared.folder / "runs/mosaic/42", OUTPUTS)


@pytest.fixture(scope="module")
def whole(training) -> dict[str, str]:
    """The md5s of an uninterrupted training's files."""
    training.finish()
    assert not training.checkpoints()
    return training.digests()


def test_a_training_killed_at_random_moments_and_terminated_once_ends_with_the_files_of_an_uninterrupted_one(
    prepared, training, whole
):
    earlier = {run.info.run_id for run in prepared.runs(stage="train")}
    moments = random.Random(0)
    # The first one is before the first visit is over, when the run in MLflow has just begun.
    assert training.interrupt(signal.SIGKILL)[0] == -signal.SIGKILL
    assert [int(file.stem) for file in training.checkpoints()] == [0]
    for _ in range(2):
        line, delay = moments.choice(("continuing in round", "round")), moments.uniform(0, 0.1)
        code, printed = training.interrupt(signal.SIGKILL, line, delay)
        assert code == -signal.SIGKILL
        assert "continuing in round" in printed
    code, printed = training.interrupt(signal.SIGTERM, "continuing in round")
    assert code == 128 + signal.SIGTERM
    assert "the same command continues" in printed
    assert "Traceback" not in printed
    (run,) = [run for run in prepared.runs(stage="train") if run.info.run_id not in earlier]
    assert run.info.status == "FAILED"
    assert sorted(training.checkpoints())[-1].stat().st_size > 0

    newest = sorted(training.checkpoints())[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    training.finish()
    assert training.digests() == whole
    # The run was continued rather than doubled, and nothing is left that another training could pick up.
    assert {each.info.run_id: each.info.status for each in prepared.runs(stage="train")} == {
        **dict.fromkeys(earlier, "FINISHED"),
        run.info.run_id: "FINISHED",
    }
    assert not training.checkpoints()


def test_whatever_the_moment_of_a_kill_the_next_training_ends_with_the_same_files(training, whole):
    moments = random.Random(KILLS)
    for _ in range(KILLS):
        code, _ = training.interrupt(signal.SIGKILL, "mosaic, seed 42", moments.uniform(0, 3))
        if code == 0:  # it was faster
            assert training.digests() == whole
    training.finish()
    assert training.digests() == whole
    assert not training.checkpoints()


def test_a_killed_experiment_in_a_temporary_copy_continues_when_it_is_run_again(prepared, training, whole):
    """It runs in another copy then, which has none of the first one's files."""
    earlier = {run.info.run_id for run in prepared.runs(stage="train")}
    experiment = ("dvc", "exp", "run", "--temp", "train@mosaic-42")
    process = start(prepared.folder, prepared.environment, *experiment)
    read_until(process, "round 1/")
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a short one of DVC's own
            if child.cmdline()[1:3] == ["-m", "stages.train"]:
                child.kill()
    printed, _ = process.communicate()
    assert process.returncode != 0, printed
    assert training.checkpoints()
    assert not list((prepared.folder / ".dvc/tmp").rglob("*.safetensors"))

    printed = prepared.run(*experiment)
    assert "continuing in round" in printed
    (run,) = [run for run in prepared.runs(stage="train") if run.info.run_id not in earlier]
    assert run.info.status == "FINISHED"
    md5 = run.data.tags["md5.model"]
    assert md5 == whole["model.safetensors"]
    assert (prepared.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).is_file()
    assert not training.checkpoints()


def test_another_configuration_continues_from_nothing_that_other_trainings_left(prepared, training, whole):
    """Neither from what a finished one left (`whole`) nor from an interrupted one's checkpoints."""
    training.interrupt(signal.SIGKILL)
    assert training.checkpoints()
    assert training.digests() == whole
    config = prepared.folder / "configs/mosaic.yaml"
    text = config.read_text()
    os.replace(config, config.with_suffix(".kept"))
    config.write_text(text.replace("lr: 0.001", "lr: 0.002").replace(f"num_rounds: {ROUNDS}", "num_rounds: 1"))
    printed = training.finish()
    assert "continuing" not in printed
    assert "round 1/1" in printed
    after_others = training.digests()
    assert after_others != whole

    for left in ("runs", ".cache/checkpoints"):
        shutil.rmtree(prepared.folder / left)
    training.finish()
    assert training.digests() == after_others
    os.replace(config.with_suffix(".kept"), config)
