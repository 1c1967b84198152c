"""Where nothing trained is shared, each dataset may be deployed from the round that is best for it."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from mosaic_pipeline.training.checkpoint import Checkpoints
from mosaic_pipeline.training.engine import StoppedByRequest
from mosaic_pipeline.training.outputs import write_outputs
from mosaic_pipeline.training.own_rounds import OwnRounds

MODELS = ("student", "teacher")
APART = {
    "adapter__routing": "per_dataset",
    "train__schedule": "dataset",
    "train__deploy": "dataset",
    "train__num_rounds": 3,
    "train__early_stopping_patience": 9,
}
# Validation ACC of student and teacher, round by round.
SCRIPT = {
    "retinamnist": [(0.9, 0.8), (0.5, 0.5), (0.5, 0.5)],
    "breastmnist": [(0.5, 0.6), (0.5, 0.7), (0.7, 0.7)],
    "chestmnist": [(0.5, 0.5), (0.5, 0.5), (0.6, 0.8)],
    "nodulemnist3d": [(0.5, 0.5), (0.8, 0.5), (0.8005, 0.5)],
}
BEST = {
    "retinamnist": (1, "student", 0.9),
    "breastmnist": (2, "teacher", 0.7),
    "chestmnist": (3, "teacher", 0.8),
    "nodulemnist3d": (2, "student", 0.8),  # what comes later is not better by min_delta
}


def scripted(trainer, monkeypatch):
    """Let validation return SCRIPT, whatever the models."""

    def validate(model) -> dict[str, float]:
        which = int(model is trainer.teacher)
        accs = {name: rows[trainer.round - 1][which] for name, rows in SCRIPT.items()}
        mean = sum(accs.values()) / len(accs)
        return {f"{name}/acc": acc for name, acc in accs.items()} | {
            **{f"{name}/auc": acc for name, acc in accs.items()},
            **dict.fromkeys(("acc", "auc", "score"), mean),
        }

    monkeypatch.setattr(trainer, "validate", validate)
    return trainer


def state_of(trainer, which: str) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in getattr(trainer, which).trainable_state().items()}


def test_each_datasets_tensors_are_those_of_its_own_best_round_and_model(make_trainer, monkeypatch, tmp_path):
    trainer, states = scripted(make_trainer(**APART), monkeypatch), []
    trainer.run(on_round=lambda row: states.append({which: state_of(trainer, which) for which in MODELS}))
    assert trainer.own_rounds.best == BEST
    write_outputs(tmp_path, trainer, {}, {})
    deployed = load_file(tmp_path / "model.safetensors")
    assert deployed.keys() == {f"composed.{name}" for name in trainer.student.trainable_state()}
    for dataset, (number, which, _) in BEST.items():
        own = [name for name, _ in trainer.student.active_parameters(dataset)]
        assert any(name.startswith("heads.") for name in own)
        for name in own:
            assert torch.equal(deployed[f"composed.{name}"], states[number - 1][which][name])
            assert not torch.equal(states[0][which][name], states[1][which][name])
    record = json.loads((tmp_path / "train.json").read_text())
    assert (record["deployed"], record["best_round"]) == ("composed", None)
    assert record["best_rounds"]["chestmnist"] == {"round": 3, "deployed": "teacher", "score": 0.8}
    assert record["score"] == pytest.approx((0.9 + 0.7 + 0.8 + 0.8) / 4)


def test_each_dataset_is_deployed_as_if_it_had_been_trained_alone(make_trainer):
    together = make_trainer(**APART)
    together.run()
    rounds = set()
    for name in together.config.datasets:
        alone = make_trainer((name,), **APART | {"train__deploy": "joint"})
        alone.run()
        assert together.own_rounds.best[name] == (alone.best.round, alone.best.deployed, alone.best.score)
        for key, tensor in alone.models[alone.deployed].items():
            assert torch.equal(together.own_rounds.tensors[key], tensor), key
        rounds.add((alone.best.round, alone.best.deployed))
    assert len(rounds) > 1


def test_the_training_and_its_joint_choice_stay_what_they_are(make_trainer, tmp_path):
    joint, own = make_trainer(**APART | {"train__deploy": "joint"}), make_trainer(**APART)
    for trainer in (joint, own):
        trainer.run()
    assert joint.history == own.history
    assert (joint.best.round, joint.best.deployed, joint.best.score) == (
        own.best.round,
        own.best.deployed,
        own.best.score,
    )
    write_outputs(tmp_path, joint, {}, {})
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == {f"{which}.{name}" for which in MODELS for name in joint.student.trainable_state()}
    assert all(torch.equal(saved[f"{which}.{k}"], t) for which in MODELS for k, t in own.best.states[which].items())
    record = json.loads((tmp_path / "train.json").read_text())
    assert (record["deployed"], record["best_round"]) == (joint.best.deployed, joint.best.round)
    assert "best_rounds" not in record


@pytest.mark.parametrize("steps", [3, 9, 13, 20])
def test_a_training_stopped_in_any_round_leaves_the_files_of_an_uninterrupted_one(
    make_trainer, monkeypatch, tmp_path, steps
):
    whole, interrupted, resumed = (scripted(make_trainer(**APART), monkeypatch) for _ in range(3))
    whole.run()
    with pytest.raises(StoppedByRequest):
        interrupted.run(stop_requested=lambda: interrupted.step == steps)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(*interrupted.state())
    resumed.restore(*checkpoints.load())
    resumed.run()
    assert resumed.own_rounds.best == BEST
    files = {}
    for trainer in (whole, resumed):
        write_outputs(tmp_path, trainer, {}, {})
        files[trainer] = [(tmp_path / name).read_bytes() for name in ("model.safetensors", "history.csv", "train.json")]
    assert files[whole] == files[resumed]


@pytest.mark.parametrize(
    ("monitor", "acc", "auc", "score"),
    [
        ("acc", 0.6, 0.8, 0.6),
        ("auc", 0.6, 0.8, 0.8),
        ("acc_auc", 0.6, 0.8, 0.7),
        ("acc_auc", 0.6, math.nan, 0.6),
        ("auc", 0.6, math.nan, 0.6),
    ],
)
def test_the_score_is_what_is_monitored_without_an_auc_that_is_undefined(make_model, monitor, acc, auc, score):
    model = make_model()
    row = {"round": 1} | {f"breastmnist/{which}_{m}": v for which in MODELS for m, v in (("acc", acc), ("auc", auc))}
    own = OwnRounds({"breastmnist": ["heads.breastmnist.weight"]}, monitor, min_delta=0)
    own.update(row, dict.fromkeys(MODELS, model))
    assert own.best == {"breastmnist": (1, "teacher", pytest.approx(score))}
