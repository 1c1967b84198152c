import errno
import json
import threading
import time
from pathlib import Path

import pytest
import torch

from pipeline.training.checkpoint import Checkpoints, checkpoint_folder
from pipeline.training.trainer import StoppedByRequest


def finished(trainer) -> tuple:
    """All that a training leaves: history as JSON (exact), and the tensors of its best round."""
    trainer.run()
    tensors = {f"{which}.{k}": t for which in ("student", "teacher") for k, t in getattr(trainer.best, which).items()}
    return json.dumps(trainer.history), (trainer.best.round, trainer.best.deployed, trainer.best.score), tensors


def same(first: tuple, second: tuple) -> bool:
    return first[:2] == second[:2] and all(torch.equal(tensor, second[2][name]) for name, tensor in first[2].items())


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 11, 13])
def test_a_training_stopped_after_any_step_ends_like_an_uninterrupted_one(make_trainer, tmp_path, steps):
    whole = finished(make_trainer())
    interrupted, checkpoints = make_trainer(), Checkpoints(tmp_path)
    with pytest.raises(StoppedByRequest):
        interrupted.run(stop_requested=lambda: interrupted.step == steps)
    checkpoints.save(*interrupted.state())

    resumed = make_trainer()
    resumed.restore(*Checkpoints(tmp_path).load())
    assert (resumed.step, resumed.history) == (steps, interrupted.history)
    assert same(finished(resumed), whole)


def test_a_checkpoint_after_a_visit_continues_with_the_next_dataset(make_trainer, tmp_path, monkeypatch):
    whole = finished(make_trainer())
    trainer, states = make_trainer(), []

    def keep() -> None:
        tensors, values = trainer.state()
        states.append(({name: tensor.clone() for name, tensor in tensors.items()}, json.loads(json.dumps(values))))

    trainer.run(on_visit=keep)
    assert len(states) == 2 * 4
    for tensors, values in (states[1], states[3], states[6]):
        resumed = make_trainer()
        resumed.restore(tensors, values)
        assert same(finished(resumed), whole)


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_with_a_warning(tmp_path, capsys):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save({"x": torch.full((1000,), float(step))}, {"step": step})
    newest = tmp_path / "000000000002.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    tensors, values = checkpoints.load()
    assert (values["step"], tensors["x"][0].item()) == (1, 1.0)
    assert f"warning: {newest}: damaged checkpoint" in capsys.readouterr().err


def test_the_last_two_checkpoints_are_kept_and_success_leaves_none(tmp_path):
    checkpoints = Checkpoints(tmp_path / "key")
    for step in (9, 10, 11):
        checkpoints.save({"x": torch.zeros(1)}, {"step": step})
    assert sorted(file.name for file in (tmp_path / "key").iterdir()) == [
        "000000000010.safetensors",
        "000000000011.safetensors",
    ]
    checkpoints.clear()
    assert not (tmp_path / "key").exists()
    assert checkpoints.load() is None


def test_a_checkpoint_belongs_to_its_determinants_and_lies_under_the_main_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    folder = checkpoint_folder({"config": "abc", "seed": 1})
    assert folder.parent == tmp_path / ".cache" / "checkpoints"
    assert folder == checkpoint_folder({"seed": 1, "config": "abc"})
    assert folder != checkpoint_folder({"config": "abc", "seed": 2})


def test_a_second_process_with_the_same_training_waits_until_the_first_is_done(tmp_path, capsys):
    first, second, order = Checkpoints(tmp_path / "key"), Checkpoints(tmp_path / "key"), []

    def train_too() -> None:
        with second.exclusive():
            order.append("second")

    thread = threading.Thread(target=train_too)
    with first.exclusive():
        thread.start()
        while "waiting for it" not in capsys.readouterr().out:
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_full_disk_is_an_error_of_the_system_and_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"x": torch.zeros(1)}, {"step": 1})

    def full(path, data) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save({"x": torch.zeros(1)}, {"step": 2})
    assert [file.name for file in tmp_path.iterdir()] == ["000000000001.safetensors"]
