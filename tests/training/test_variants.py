"""What the variants of the recipe do to a training."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from mosaic_pipeline.data.batches import Split, open_splits
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation.test_set import run_test
from mosaic_pipeline.model.mosaic import build_mosaic
from mosaic_pipeline.training.checkpoint import Checkpoints
from mosaic_pipeline.training.engine import StoppedByRequest
from mosaic_pipeline.training.model_file import load_model, save_model
from mosaic_pipeline.training.outputs import write_outputs
from mosaic_pipeline.training.schedule import learning_rate
from mosaic_pipeline.training.trainer import CyclicTrainer

CPU = torch.device("cpu")
VARIANTS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())["ablation"]["variants"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_trains_is_saved_and_is_tested_as_it_was_trained(
    make_trainer, make_model, cached, variant, tmp_path
):
    trainer = make_trainer(variant=variant)
    start = {name: tensor.clone() for name, tensor in trainer.student.trainable_state().items()}
    trainer.run()
    still = [name for name, tensor in trainer.student.trainable_state().items() if torch.equal(tensor, start[name])]
    assert not still

    save_model(tmp_path / "model.safetensors", {}, **trainer.models)
    model = make_model(variant=variant)
    load_model(tmp_path / "model.safetensors", model, trainer.deployed)
    for name in trainer.config.datasets:
        val = Split(cached / name, "val", CPU)
        result = run_test(model, val, MEDMNIST[name], validation=val, config=trainer.config, batch_size=4).record()
        if MEDMNIST[name].task != "ordinal-regression" or not trainer.config.train.grade_tolerance:
            number, which = trainer.best.round, trainer.best.deployed
            if trainer.own_rounds:
                number, which, _ = trainer.own_rounds.best[name]
            assert result["acc"] == trainer.history[number - 1][f"{name}/{which}_acc"]
        assert result["n"] == 10


@pytest.mark.parametrize("kind", ["bottleneck", "lora", "prompt"])
def test_datasets_routed_apart_train_together_as_each_does_alone(make_trainer, kind, cached, write_cached):
    """With a frozen backbone this is single-task training, 2D and 3D: the same batches, rates and updates."""
    write_cached(cached / "vesselmnist3d", "vesselmnist3d", {"train": 9, "val": 8, "test": 8})
    datasets = ("vesselmnist3d", "retinamnist", "chestmnist", "nodulemnist3d")
    overrides = {
        "adapter__kind": kind,
        "adapter__routing": "per_dataset",
        "adapter__prompt_strength": 0.5,
        "train__schedule": "dataset",
        "train__num_rounds": 3,
        "train__early_stopping_patience": 9,
        "train__weight_decay": 0.3,
    }
    together = make_trainer(datasets, **overrides)
    together.run()
    for name in datasets:
        alone = make_trainer((name,), **overrides)
        alone.run()
        for which in ("student", "teacher"):
            ours = getattr(together, which).trainable_state()
            theirs = getattr(alone, which).trainable_state()
            assert any(key.startswith("tokenizers_3d") for key in theirs) == (MEDMNIST[name].dimension == 3)
            for key, tensor in theirs.items():
                assert torch.equal(tensor, ours[key]), key


def test_with_the_schedule_of_all_datasets_training_alone_is_another_training(make_trainer):
    overrides = {"adapter__routing": "per_dataset", "train__schedule": "step"}
    together, alone = make_trainer(**overrides), make_trainer(("breastmnist",), **overrides)
    together.run()
    alone.run()
    head = "heads.breastmnist.weight"
    assert not torch.equal(together.student.get_parameter(head), alone.student.get_parameter(head))


def rates(trainer) -> list[float]:
    """The learning rate of every step."""
    seen, step = [], trainer.optimizer.step
    trainer.optimizer.step = lambda: seen.append(trainer.optimizer.param_groups[0]["lr"]) or step()
    trainer.run()
    return seen


def test_schedules_by_step_by_dataset_and_by_round(make_trainer):
    small = {"datasets": ("retinamnist", "breastmnist"), "train__lr": 1.0, "train__batch_size": 6}
    by_step, by_dataset, by_round = (
        rates(make_trainer(train__num_rounds=3, train__schedule=schedule, **small))
        for schedule in ("step", "dataset", "round")
    )
    assert by_step[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert by_dataset[:4] == pytest.approx([0.5, 1.0, 0.5, 1.0])
    # Each dataset's own six steps, two a round.
    own = [learning_rate(step, peak=1.0, warmup_steps=2, total_steps=6) for step in range(6)]
    assert by_dataset == pytest.approx(
        [own[2 * number + step] for number in range(3) for _ in range(2) for step in (0, 1)]
    )
    # Warm-up by rounds: all of the first one at 1 %, then a cosine whose steps are rounds.
    assert by_round == pytest.approx(4 * [0.01] + 4 * [1.0] + 4 * [0.5])
    assert len(by_step) == len(by_dataset) == 12


@pytest.mark.parametrize("factor", [1.0, 50.0])
def test_a_strength_from_zero_moves_by_its_factor_of_the_learning_rate(make_trainer, factor):
    trainer = make_trainer(("retinamnist",), variant="prompt_from_zero", adapter__prompt_strength_lr=factor)
    strengths = [prompt.strength for prompt in trainer.student.specialists["shared"]]
    ordinary = sum(rates(trainer))
    # Adam's steps are of the size of the rate, as long as the gradient keeps its sign.
    moved = max(abs(strength.item()) for strength in strengths)
    assert 0.5 * factor * ordinary < moved <= 1.01 * factor * ordinary
    first, *others = trainer.optimizer.param_groups
    faster = {id(p) for group in others if group["lr"] == factor * first["lr"] != first["lr"] for p in group["params"]}
    assert faster == ({id(strength) for strength in strengths} if factor > 1 else set())


def test_gates_train_in_the_last_rounds_alone_with_a_cosine_of_their_own(make_trainer):
    trainer = make_trainer(
        ("retinamnist", "breastmnist"),
        variant="gated",
        train__num_rounds=4,
        adapter__gate_rounds=2,
        train__lr=1e-3,
        train__early_stopping_patience=9,
    )
    gates = []
    trainer._loss, loss = lambda *x: gates.append(trainer.student.gated) or loss(*x), trainer._loss
    moved = []
    seen, step = [], trainer.optimizer.step
    trainer.optimizer.step = lambda: seen.append(trainer.optimizer.param_groups[0]["lr"]) or step()

    def on_round(row) -> None:
        moved.append(bool(trainer.student.gates[0].linear.weight.abs().max() > 0))

    trainer.run(on_round=on_round)
    assert moved == [False, False, True, True]
    assert trainer.teacher.gates[0].linear.weight.abs().max() > 0
    assert gates == 8 * [False] + 8 * [True]
    assert seen[8] == max(seen[8:]) > 0.9e-3
    assert seen[15] < 0.1e-3
    assert trainer.round == 4


def test_what_is_deployed_of_a_gated_training_has_been_trained_with_the_gates(make_trainer, monkeypatch):
    trainer = make_trainer(variant="gated", train__num_rounds=4, adapter__gate_rounds=2)
    scores = iter([0.9, 0.9, 0.8, 0.8, 0.5, 0.5, 0.6, 0.6])
    values = {f"{name}/{m}": 0.5 for name in trainer.config.datasets for m in ("acc", "auc")} | {"acc": 0.5, "auc": 0.5}
    monkeypatch.setattr(trainer, "validate", lambda model: values | {"score": next(scores)})
    trainer.run()
    assert (trainer.best.round, trainer.best.score) == (4, 0.6)


def test_gates_follow_also_when_the_rounds_before_them_stop_early(make_trainer, monkeypatch):
    trainer = make_trainer(
        variant="gated", train__num_rounds=6, adapter__gate_rounds=2, train__early_stopping_patience=1
    )
    values = {f"{name}/{m}": 0.5 for name in trainer.config.datasets for m in ("acc", "auc")} | {"acc": 0.5, "auc": 0.5}
    scores = iter([0.5, 0.5, 0.4, 0.4, 0.3, 0.3, 0.4, 0.4])
    monkeypatch.setattr(trainer, "validate", lambda model: values | {"score": next(scores)})
    trainer.run()
    # Two rounds, the second without gain; then both with gates.
    assert (trainer.gated_from, trainer.round, trainer.best.round) == (2, 4, 4)


def test_gates_come_into_the_best_model_without_them_and_not_into_the_last_one(make_trainer, monkeypatch):
    trainer = make_trainer(
        variant="gated", train__num_rounds=5, adapter__gate_rounds=1, train__early_stopping_patience=2
    )
    values = {f"{name}/{m}": 0.5 for name in trainer.config.datasets for m in ("acc", "auc")} | {"acc": 0.5, "auc": 0.5}
    scores = iter([0.5, 0.6, 0.4, 0.4, 0.3, 0.3])
    monkeypatch.setattr(trainer, "validate", lambda model: values | {"score": next(scores)})
    after, begun = [], []
    enter = trainer._enter_phase

    def entered() -> None:
        states = [model.trainable_state().items() for model in (trainer.student, trainer.teacher)]
        begun.extend({name: tensor.clone() for name, tensor in state} for state in states)
        assert not trainer.optimizer.state
        enter()
        raise StoppedByRequest

    def on_round(row) -> None:
        states = [model.trainable_state().items() for model in (trainer.student, trainer.teacher)]
        after.append([{name: tensor.clone() for name, tensor in state} for state in states])

    monkeypatch.setattr(trainer, "_enter_phase", entered)
    with pytest.raises(StoppedByRequest):
        trainer.run(on_round=on_round)
    assert len(after) == 3
    for which in (0, 1):
        assert all(torch.equal(tensor, after[0][which][name]) for name, tensor in begun[which].items())
        assert not all(torch.equal(tensor, after[2][which][name]) for name, tensor in begun[which].items())


def test_the_training_says_from_which_round_on_its_gates_were_in_use(make_trainer, tmp_path):
    for variant, expected in (("gated", 1), ("mosaic", None)):
        trainer = make_trainer(("breastmnist",), variant=variant, train__num_rounds=2, adapter__gate_rounds=1)
        trainer.run()
        write_outputs(tmp_path, trainer, {}, {})
        assert json.loads((tmp_path / "train.json").read_text())["gated_from"] == expected


GATED = {"variant": "gated", "train__num_rounds": 4, "adapter__gate_rounds": 2}
SHUFFLED = {"train__order": "interleaved", "train__num_rounds": 2}
BALANCED = {"train__order": "balanced", "train__num_rounds": 2}
AT_VISITS = {"ema__update": "visit"}


@pytest.mark.parametrize("steps", [3, 9, 18, 26])
@pytest.mark.parametrize(
    "overrides", [GATED, SHUFFLED, BALANCED, AT_VISITS], ids=["gated", "shuffled", "balanced", "ema"]
)
def test_a_stopped_training_of_any_order_and_phase_ends_like_an_uninterrupted_one(
    make_trainer, tmp_path, overrides, steps
):
    whole = make_trainer(**overrides)
    whole.run()
    if steps >= whole.step:
        steps = whole.step - 1
    interrupted = make_trainer(**overrides)
    with pytest.raises(StoppedByRequest):
        interrupted.run(stop_requested=lambda: interrupted.step == steps)
    Checkpoints(tmp_path).save(*interrupted.state())
    resumed = make_trainer(**overrides)
    resumed.restore(*Checkpoints(tmp_path).load())
    resumed.run()
    assert resumed.history == whole.history
    for which in ("student", "teacher"):
        expected = whole.best.states[which]
        assert all(torch.equal(tensor, expected[name]) for name, tensor in resumed.best.states[which].items())


def batches_of(trainer) -> list[tuple[str, float]]:
    """Dataset and sum of the images of every step."""
    seen, loss = [], trainer._loss
    trainer._loss = lambda images, *rest: seen.append((rest[-1], images.sum().item())) or loss(images, *rest)
    trainer.run()
    return seen


def test_interleaved_steps_see_the_same_batches_as_visits_in_another_order(make_trainer):
    visits, shuffled = (
        batches_of(make_trainer(train__order=order, train__num_rounds=1, train__batch_size=4))
        for order in ("registry", "interleaved")
    )
    assert visits != shuffled
    assert sorted(visits) == sorted(shuffled)


@pytest.fixture
def uneven(make_config, make_backbone, write_cached, tmp_path):
    """A trainer on one small and one large dataset, balanced."""
    folder = tmp_path / "uneven"
    for name, count in {"retinamnist": 6, "breastmnist": 26}.items():
        write_cached(folder / name, name, {"train": count, "val": 10})
    config = make_config(
        ("retinamnist", "breastmnist"),
        train__order="balanced",
        train__tau=0.0,
        train__batch_size=4,
        train__num_rounds=3,
    )
    train, val = open_splits(folder, config.datasets, ("train", "val"), CPU)
    model = build_mosaic(config, make_backbone(), 0)
    return CyclicTrainer(model, config, train=train, val=val, seed=0, device=CPU, eval_batch_size=4)


def test_balanced_steps_go_through_a_dataset_epoch_by_epoch_wherever_rounds_end(uneven):
    # Epochs of 2 and 7 steps; balanced, a round has 5 and 4.
    assert uneven.steps == {"retinamnist": 5, "breastmnist": 4}
    sizes = {"retinamnist": [], "breastmnist": []}
    rows = {name: watched(split) for name, split in uneven.train.items()}
    loss = uneven._loss
    uneven._loss = lambda x, draws, y, name: sizes[name].append(len(y)) or loss(x, draws, y, name)
    uneven.run()
    assert sizes["retinamnist"] == 7 * [4, 2] + [4]
    assert sizes["breastmnist"] == 6 * [4] + [2] + 5 * [4]
    assert sorted(row for batch in rows["breastmnist"][:7] for row in batch) == list(range(26))
    epochs = [
        tuple(first + second)
        for first, second in zip(rows["retinamnist"][:14:2], rows["retinamnist"][1:14:2], strict=True)
    ]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len(set(epochs)) > 3


def watched(split: Split) -> list[list[int]]:
    """Return a list to which every batch that the split gathers from now on is added, as row numbers."""
    rows, gather = [], split._gather
    split._gather = lambda taken: rows.append(taken.tolist()) or gather(taken)
    return rows


def test_a_teacher_that_moves_by_visit_moves_once_in_each(make_trainer):
    trainer = make_trainer(("retinamnist",), ema__update="visit", train__batch_size=4, ema__momentum=0.75)
    before = {name: tensor.clone() for name, tensor in trainer.teacher.trainable_state().items()}
    trainer.visit("retinamnist")
    for name, tensor in trainer.teacher.trainable_state().items():
        student = trainer.student.trainable_state()[name]
        torch.testing.assert_close(tensor, 0.75 * before[name] + 0.25 * student, rtol=1e-5, atol=1e-7)


def test_validation_right_after_a_visit_shows_what_the_rest_of_the_round_takes(make_trainer):
    shared = make_trainer(variant="shared", train__lr=0.05)
    shared.run()
    apart = make_trainer(variant="per_dataset", train__lr=0.05)
    apart.run()

    def lost(trainer) -> list[float]:
        rows, names = trainer.history, trainer.config.datasets
        return [row[f"{name}/visit_auc"] - row[f"{name}/student_auc"] for row in rows for name in names]

    assert not any(lost(apart))
    assert any(lost(shared))
    last = list(shared.config.datasets)[-1]
    assert all(row[f"{last}/visit_auc"] == row[f"{last}/student_auc"] for row in shared.history)
    assert not any("visit" in key for key in run_without_visits(make_trainer))


def run_without_visits(make_trainer) -> list[str]:
    trainer = make_trainer(train__validate_visits=False)
    trainer.run()
    return list(trainer.history[0])


def test_a_grade_tolerance_counts_neighbours_as_right_in_the_validation_of_grades_alone(make_trainer):
    exact, lenient = make_trainer(), make_trainer(train__grade_tolerance=1)
    before, after = exact.validate(exact.student), lenient.validate(lenient.student)
    assert after["retinamnist/acc"] > before["retinamnist/acc"]
    assert {key for key in before if before[key] != after[key]} == {"retinamnist/acc", "acc", "score"}


def test_full_fine_tuning_moves_the_backbone_and_its_teacher_has_one_of_its_own(make_trainer):
    trainer = make_trainer(variant="full_finetune")
    name = "backbone.blocks.0.mlp.fc1.weight"
    before = trainer.student.get_parameter(name).clone()
    trainer.run()
    student, teacher = (model.get_parameter(name) for model in (trainer.student, trainer.teacher))
    assert not torch.equal(student, before)
    assert not torch.equal(teacher, before)
    assert not torch.equal(student, teacher)
    assert name in trainer.best.states["student"]
