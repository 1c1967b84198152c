import hashlib
import math

import pytest
import torch
from safetensors import safe_open

from mosaic_pipeline.data.augment import STATISTICS, augment, draw, normalise, to_float
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.training.model_file import load_model, save_model


def snapshot(trainer) -> dict[str, dict[str, torch.Tensor]]:
    """Every tensor that a step could touch: both models whole, and the optimiser's momenta by parameter name."""
    state = {
        "student": {name: p.detach().clone() for name, p in trainer.student.named_parameters()},
        "teacher": {name: p.detach().clone() for name, p in trainer.teacher.named_parameters()},
    }
    for moment in ("exp_avg", "exp_avg_sq"):
        state[moment] = {
            name: trainer.optimizer.state[p][moment].clone()
            for name, p in trainer.student.named_parameters()
            if p in trainer.optimizer.state
        }
    return state


@pytest.mark.parametrize("name", ["breastmnist", "retinamnist", "nodulemnist3d", "chestmnist"])
def test_a_step_changes_what_its_dataset_trains_and_leaves_the_rest_bitwise_alone(make_trainer, name):
    trainer = make_trainer(train__weight_decay=0.5)
    for other in trainer.config.datasets:  # so that every part has momentum that could move it
        trainer.visit(other)
    before = snapshot(trainer)
    trainer.visit(name)
    after = snapshot(trainer)

    active = {key for key, _ in trainer.student.active_parameters(name)}
    for which, tensors in after.items():
        for key, tensor in tensors.items():
            unchanged = torch.equal(tensor, before[which][key])
            assert unchanged == (key not in active), f"{which} {key}"


@pytest.mark.parametrize("variant", ["mosaic", "prompt_joint", "lora_joint_r8", "gated", "full_finetune"])
def test_weight_decay_is_on_matrices_only(make_trainer, variant):
    trainer = make_trainer(variant=variant, train__weight_decay=0.3)
    names = {id(parameter): name for name, parameter in trainer.student.named_parameters()}
    decayed = {
        names[id(p)] for group in trainer.optimizer.param_groups if group["weight_decay"] for p in group["params"]
    }
    trained = trainer.student.trainable_state()
    assert decayed == {name for name, tensor in trained.items() if name.endswith("weight") and tensor.ndim > 1}


def test_a_round_visits_every_dataset_for_a_full_epoch_in_the_configured_order(make_trainer, monkeypatch):
    trainer = make_trainer(
        ("nodulemnist3d", "retinamnist"), train__num_rounds=1, train__warmup_rounds=0, train__batch_size=5
    )
    trained, loss = [], trainer._loss
    monkeypatch.setattr(trainer, "_loss", lambda *inputs: trained.append((inputs[-1], len(inputs[0]))) or loss(*inputs))
    trainer.run()
    assert trained == [(name, images) for name in ("nodulemnist3d", "retinamnist") for images in (5, 5, 2)]
    assert trainer.step == 2 * math.ceil(12 / 5)


def test_the_student_sees_augmented_images_and_the_teacher_plain_ones(make_trainer, monkeypatch):
    trainer = make_trainer(("retinamnist",), train__validate_visits=False)
    seen = {}
    for which in ("student", "teacher"):
        model = getattr(trainer, which)
        forward = model.forward

        def record(images, dataset, which=which, forward=forward):
            seen[which] = images.clone()
            return forward(images, dataset)

        monkeypatch.setattr(model, "forward", record)
    monkeypatch.setattr("mosaic_pipeline.training.trainer.augment", lambda images, draws: torch.zeros_like(images))
    trainer.visit("retinamnist")
    assert torch.all(seen["student"] == -1)
    assert seen["teacher"].std() > 0


@pytest.mark.parametrize("name", ["retinamnist", "breastmnist", "nodulemnist3d"])
def test_under_bf16_both_models_see_what_fp32_makes_of_the_images(make_trainer, monkeypatch, name):
    trainer = make_trainer((name,), compute__precision="bf16", model__normalisation="clip")
    seen = {}
    for which in ("student", "teacher"):
        forward = getattr(trainer, which).forward

        def record(images, dataset, which=which, forward=forward):
            seen[which] = images.clone()
            return forward(images, dataset)

        monkeypatch.setattr(getattr(trainer, which), "forward", record)
    dataset, size = MEDMNIST[name], trainer.config.model.size(MEDMNIST[name].dimension)
    generator = torch.Generator().manual_seed(0)
    stored = torch.randint(256, (4, *dataset.image_shape(28)), dtype=torch.uint8, generator=generator)
    images, draws = to_float(stored, dataset.dimension, size), draw(dataset, 4, generator)
    trainer._loss(images, draws, torch.zeros((4, 1), dtype=torch.int64), name)
    assert torch.equal(seen["student"], normalise(augment(images, draws), STATISTICS["clip"]))
    assert torch.equal(seen["teacher"], normalise(images, STATISTICS["clip"]))


def test_the_history_has_a_row_per_round_with_losses_and_validation_of_both_models(make_trainer):
    trainer = make_trainer()
    rows = []
    trainer.run(on_round=rows.append)
    assert [row["round"] for row in rows] == [1, 2]
    assert rows[0].keys() == trainer.history[0].keys() | {"images_per_second"}
    for name in trainer.config.datasets:
        measured = [f"{which}_{m}" for which in ("student", "teacher") for m in ("acc", "auc")]
        for key in ("train_loss", *measured):
            assert math.isfinite(rows[0][f"{name}/{key}"])
    losses = [rows[0][f"{name}/train_loss"] for name in trainer.config.datasets]
    assert rows[0]["train_loss"] == pytest.approx(sum(losses) / len(losses))
    aucs = [rows[1][f"{name}/teacher_auc"] for name in trainer.config.datasets]
    accs = [rows[1][f"{name}/teacher_acc"] for name in trainer.config.datasets]
    assert rows[1]["teacher_score"] == pytest.approx((sum(aucs) / 4 + sum(accs) / 4) / 2)


def test_without_a_terminal_training_prints_one_line_a_round(make_trainer, capsys):
    make_trainer().run(on_round=lambda row: None)
    printed = capsys.readouterr()
    assert [line.split("  ")[0] for line in printed.out.splitlines()] == ["round 1/2", "round 2/2"]
    assert printed.err == ""


def scripted(trainer, monkeypatch, scores):
    """Let validation return the given (student, teacher) scores, round by round."""
    script = iter([score for pair in scores for score in pair])
    values = {f"{name}/{m}": 0.5 for name in trainer.config.datasets for m in ("acc", "auc")} | {"acc": 0.5, "auc": 0.5}
    monkeypatch.setattr(trainer, "validate", lambda model: values | {"score": next(script)})


def test_the_best_round_and_the_better_of_student_and_teacher_are_deployed(make_trainer, monkeypatch):
    trainer = make_trainer(train__num_rounds=3)
    scripted(trainer, monkeypatch, [(0.6, 0.5), (0.4, 0.8), (0.7, 0.7)])
    states = []
    trainer.run(
        on_round=lambda row: states.append({k: v.clone() for k, v in trainer.teacher.trainable_state().items()})
    )
    assert (trainer.best.round, trainer.best.deployed, trainer.best.score) == (2, "teacher", 0.8)
    assert all(torch.equal(tensor, trainer.best.states["teacher"][name]) for name, tensor in states[1].items())
    assert not trainer.stopped_early


def test_training_stops_when_patience_runs_out(make_trainer, monkeypatch):
    trainer = make_trainer(train__num_rounds=9, train__early_stopping_patience=2, train__min_delta=0.05)
    scripted(trainer, monkeypatch, [(0.5, 0.4), (0.54, 0.4), (0.55, 0.4), (0.9, 0.9)])
    trainer.run(on_round=lambda row: None)
    assert (trainer.round, trainer.best.round, trainer.stopped_early) == (3, 1, True)


def test_an_undefined_validation_score_is_an_error_that_names_the_way_out(make_trainer, monkeypatch):
    trainer = make_trainer()
    scripted(trainer, monkeypatch, [(math.nan, math.nan)])
    with pytest.raises(PipelineError, match="monitor: acc"):
        trainer.run(on_round=lambda row: None)


def test_a_loss_that_is_not_finite_stops_the_training_and_names_where_it_was(make_trainer, monkeypatch):
    trainer, steps = make_trainer(("retinamnist", "breastmnist"), train__batch_size=4), []

    def poison(images, draws):
        steps.append(trainer.step)
        return images * (math.nan if trainer.step == 4 else 1)

    monkeypatch.setattr("mosaic_pipeline.training.trainer.augment", poison)
    said = r"breastmnist: loss nan and gradient norm nan in round 1, step 2 of 3, at a learning rate of 0\.00083;"
    with pytest.raises(PipelineError, match=said):
        trainer.run()
    assert steps[-1] == 5  # seen at the end of the visit: nothing waits for the device before
    assert "breastmnist" not in trainer.losses


def trained_md5(trainer, path) -> str:
    trainer.run(on_round=lambda row: None)
    save_model(path, {}, student=trainer.best.states["student"], teacher=trainer.best.states["teacher"])
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_the_same_seed_gives_the_same_model_file_and_another_seed_another(make_trainer, tmp_path):
    files = [tmp_path / f"{name}.safetensors" for name in "abc"]
    first, again, other = (
        trained_md5(make_trainer(seed=seed), file) for seed, file in zip((42, 42, 43), files, strict=True)
    )
    assert first == again
    assert first != other


def test_the_seed_decides_the_batches_and_their_augmentation_not_only_the_start(make_trainer):
    first, second = make_trainer(("retinamnist",)), make_trainer(("retinamnist",))
    second.seed = 1
    assert all(torch.equal(p, q) for p, q in zip(first.student.parameters(), second.student.parameters(), strict=True))
    assert first.visit("retinamnist") != second.visit("retinamnist")


def test_a_model_file_holds_the_trainable_tensors_of_both_models_and_loads_back(make_trainer, make_model, tmp_path):
    trainer, file = make_trainer(), tmp_path / "model.safetensors"
    trained_md5(trainer, file)
    with safe_open(file, framework="pt") as saved:
        names = set(saved.keys())
    trainable = trainer.student.trainable_state()
    assert names == {f"{which}.{name}" for which in ("student", "teacher") for name in trainable}
    model = make_model(seed=7)
    load_model(file, model, "teacher")
    assert all(
        torch.equal(tensor, trainer.best.states["teacher"][name]) for name, tensor in model.trainable_state().items()
    )


def test_a_model_of_another_configuration_is_refused_in_one_line(make_trainer, make_model, tmp_path):
    file = tmp_path / "model.safetensors"
    trained_md5(make_trainer(), file)
    for other in (make_model(adapter__bottleneck_b=9), make_model(("retinamnist",))):
        with pytest.raises(PipelineError, match=r"model\.safetensors: not a model of this configuration") as error:
            load_model(file, other, "student")
        assert "\n" not in str(error.value)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(PipelineError, match="dvc repro train"):
        load_model(file, make_model(), "student")
