import errno
import json
import random
import threading
import time
from pathlib import Path

import pytest
import torch

from mosaic_pipeline.training.checkpoint import Checkpoints, _read, checkpoint_folder
from mosaic_pipeline.training.engine import StoppedByRequest
from mosaic_pipeline.training.resume import resume


def finished(trainer) -> tuple:
    """All that a training leaves: history as JSON (exact), and the tensors of its best round."""
    trainer.run()
    tensors = {f"{which}.{k}": t for which, state in trainer.best.states.items() for k, t in state.items()}
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


def edited(file, change):
    """Write a checkpoint anew, its check sum included, after `change` of its tensors and values: as no damage would."""
    tensors, values = _read(file)
    change(tensors, values)
    step = int(file.stem)
    file.unlink()
    Checkpoints(file.parent).save(tensors, values | {"step": step})


def put(tensors, name, tensor):
    tensors[name] = tensor


UNUSABLE = {
    "no run": lambda t, v: v.pop("run_id"),
    "no round": lambda t, v: v.pop("round"),
    "a round that is a word": lambda t, v: v.update(round="one"),
    "another number of rounds": lambda t, v: v.update(round=7),
    "no history": lambda t, v: v.pop("history"),
    "no best": lambda t, v: v.pop("best"),
    "an empty best": lambda t, v: v.update(best=[]),
    "no trace": lambda t, v: t.pop("trace"),
    "a short trace": lambda t, v: (v.update(position=2), put(t, "trace", torch.zeros((1, 3)))),
    "a flat trace": lambda t, v: put(t, "trace", torch.zeros(3)),
    "no head": lambda t, v: t.pop("student.heads.breastmnist.bias"),
    "no head of the teacher": lambda t, v: t.pop("teacher.heads.breastmnist.bias"),
    "no head of the best round": lambda t, v: t.pop("best.teacher.heads.breastmnist.bias"),
    "a moment missing": lambda t, v: t.pop("optimizer.exp_avg.heads.breastmnist.bias"),
    "a moment of another shape": lambda t, v: put(t, "optimizer.exp_avg.heads.breastmnist.bias", torch.zeros(1)),
    "a head of another shape": lambda t, v: put(t, "student.heads.breastmnist.bias", torch.zeros(1)),
    "a head of another type": lambda t, v: put(t, "student.heads.breastmnist.bias", torch.zeros(2, dtype=torch.int32)),
    "a tensor too many": lambda t, v: put(t, "student.heads.octmnist.bias", torch.zeros(4)),
}


@pytest.fixture(scope="module")
def two_rounds():
    """Where the checkpoints of one training are copied from."""
    return {}


@pytest.mark.parametrize("change", UNUSABLE.values(), ids=UNUSABLE)
def test_a_checkpoint_that_training_cannot_continue_from_is_passed_over_for_the_one_before(
    make_trainer, tmp_path, capsys, two_rounds, change
):
    if not two_rounds:
        trainer = make_trainer(("breastmnist",))

        def keep() -> None:
            tensors, values = trainer.state()
            Checkpoints(tmp_path / "kept").save(tensors, values | {"run_id": "abc"})

        trainer.run(on_visit=keep)
        two_rounds |= {file.name: file.read_bytes() for file in (tmp_path / "kept").iterdir()}
    (tmp_path / "kept").mkdir(exist_ok=True)
    older, newest = (tmp_path / "kept" / name for name in sorted(two_rounds))
    for file in (older, newest):
        file.write_bytes(two_rounds[file.name])
    edited(newest, change)
    capsys.readouterr()

    resumed = make_trainer(("breastmnist",))
    assert resume(resumed, Checkpoints(tmp_path / "kept")) == "abc"
    assert (resumed.round, resumed.step) == (1, int(older.stem))
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: {newest}: damaged checkpoint (")
    assert warning.endswith("); using the one before it")


def stored(content: bytes, name: str) -> range:
    """Where the bytes of a tensor are in a safetensors file."""
    size = int.from_bytes(content[:8], "little")
    first, last = json.loads(content[8 : 8 + size])[name]["data_offsets"]
    return range(8 + size + first, 8 + size + last)


@pytest.mark.parametrize("where", ["student.heads.breastmnist.weight", "values", 0, 1, 2])  # a tensor, or anywhere
def test_a_hundred_flipped_bits_are_noticed_wherever_they_are(make_trainer, tmp_path, capsys, where):
    trainer = make_trainer(("breastmnist",))
    Checkpoints(tmp_path / "kept").save(*trainer.state())
    (file,) = (tmp_path / "kept").iterdir()
    content, generator = bytearray(file.read_bytes()), random.Random(where)
    places = stored(content, where) if isinstance(where, str) else range(len(content))
    for bit in generator.sample(range(8 * len(places)), 100):
        content[places[bit // 8]] ^= 1 << bit % 8
    file.write_bytes(content)
    assert Checkpoints(tmp_path / "kept").load() is None
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: {file}: damaged checkpoint (")


def test_without_a_usable_checkpoint_training_starts_anew_says_so_and_its_own_ones_stay(tmp_path, capsys):
    checkpoints = Checkpoints(tmp_path)
    for step in (8, 9):
        checkpoints.save({"x": torch.zeros(1)}, {"step": step})
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    assert checkpoints.load() is None
    first, last = capsys.readouterr().err.splitlines()
    assert first.endswith("); using the one before it")
    assert last.endswith("); training starts from the beginning")
    # The damaged ones have higher numbers, and are neither told again nor kept instead of those that follow.
    checkpoints.save({"x": torch.ones(1)}, {"step": 0})
    tensors, values = checkpoints.load()
    assert (values["step"], tensors["x"].item()) == (0, 1.0)
    assert capsys.readouterr().err == ""
    checkpoints.clear()
    assert not tmp_path.exists()


def test_a_history_of_any_length_is_kept(tmp_path):
    """The header of a safetensors file ends at 100 MB: 30,000 rounds of eighteen datasets are beyond that."""
    history = [{"round": number, "text": "x" * 1_000_000} for number in range(110)]
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"x": torch.zeros(1)}, {"step": 1, "history": history})
    assert checkpoints.load()[1]["history"] == history


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"result": {"score": 1}}', b'{"result": {}, "digest": "0"}'])
def test_a_damaged_result_of_a_candidate_counts_as_none_and_is_said(tmp_path, capsys, content):
    checkpoints = Checkpoints(tmp_path / "key")
    assert checkpoints.result is None
    checkpoints.keep_result({"score": 0.5, "acc": None})
    assert checkpoints.result == {"score": 0.5, "acc": None}
    assert capsys.readouterr().err == ""
    (tmp_path / "key.json").write_bytes(content)
    assert checkpoints.result is None
    assert "key.json: damaged result (" in capsys.readouterr().err


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
