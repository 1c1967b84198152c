"""What a training of segmentation changes, in which order, and that it may be interrupted anywhere."""

import json

import numpy as np
import pytest
import torch

from mosaic_pipeline.segmentation.training.trainer import build_optimizer
from mosaic_pipeline.segmentation.training.validation import organ_dsc
from mosaic_pipeline.training.checkpoint import Checkpoints
from mosaic_pipeline.training.engine import StoppedByRequest
from mosaic_pipeline.training.schedule import learning_rate

GATED = {"experts": {"mix": "gated"}}
ALL_PHASES = GATED | {
    "train": {
        "pretrain_rounds": 1,
        "mask_ratio": 0.5,
        "expert_rounds": 2,
        "gate_rounds": 1,
        "early_stopping_patience": 9,
    }
}

THREE = ("flare22", "atlas23", "amos22_mr")
ADDED = {"experts": {"added": 1}, "train": {"expert_rounds": 2, "early_stopping_patience": 9, "weight_decay": 0.5}}


def copies(model):
    return {name: tensor.clone() for name, tensor in model.trainable_state().items()}


@pytest.mark.parametrize("experts", [{}, {"mix": "gated"}, {"where": "encoder"}, {"head": "union"}])
def test_a_hard_step_changes_what_its_set_trains_and_leaves_the_rest_bitwise_alone(make_trainer, experts):
    trainer = make_trainer(experts=experts, train={"weight_decay": 0.5})
    for name in trainer.config.datasets:  # so that every part has momentum that could move it
        trainer.visit(name)
    before = copies(trainer.student)
    trainer.visit("atlas23")
    after = copies(trainer.student)
    active = {name for name, _ in trainer.student.active_parameters("atlas23")}
    assert {name for name in after if not torch.equal(before[name], after[name])} == active
    others = [name for name in after if ".experts.flare22." in name or "gate" in name or name == "heads.flare22.weight"]
    assert not active & set(others)


def test_the_gate_s_rounds_train_every_expert_and_one_head(make_trainer):
    trainer = make_trainer(**GATED)
    trainer._enter_phase()
    before = copies(trainer.student)
    trainer.visit("atlas23")
    changed = {name for name, tensor in copies(trainer.student).items() if not torch.equal(before[name], tensor)}
    assert any(".experts.flare22." in name for name in changed)
    assert any(name.endswith("gate.linear.weight") for name in changed)
    assert "heads.atlas23.weight" in changed
    assert "heads.flare22.weight" not in changed


def test_masked_modelling_trains_no_head_and_no_gate(make_trainer):
    trainer = make_trainer(**ALL_PHASES)
    before = copies(trainer.student)
    trainer.visit("flare22")
    changed = {name for name, tensor in copies(trainer.student).items() if not torch.equal(before[name], tensor)}
    assert any(name.startswith("reconstructions.") for name in changed)
    assert not any(name.startswith("heads.") or "gate" in name or ".experts.atlas23." in name for name in changed)


def test_phases_follow_each_other_each_from_the_best_round_of_the_one_before(make_trainer, monkeypatch):
    trainer = make_trainer(**ALL_PHASES)
    entered, enter = [], trainer._enter_phase

    def watched():
        assert not trainer.optimizer.state
        entered.append((trainer.round, copies(trainer.student), trainer.best.states["model"]))
        enter()

    scores = iter([0.1, 0.9, 0.2, 0.3])
    monkeypatch.setattr(trainer, "_enter_phase", watched)
    validate = trainer._validate
    values = {}

    def validated(name):
        score = values.setdefault(trainer.round, next(scores) if trainer.round not in values else None)
        return validate(name) | {"score": score}

    monkeypatch.setattr(trainer, "_validate", validated)
    trainer.run()
    assert [round_ for round_, _, _ in entered] == [1, 3]
    for _, state, best in entered:
        assert all(torch.equal(tensor, best[name]) for name, tensor in state.items())
    assert [row["phase"] for row in trainer.history] == [1, 2, 2, 3]
    assert (trainer.phases_from, trainer.best.round) == ([0, 1, 3], 4)


def is_of_the_new(name):
    return ".experts.amos22_mr." in name or name.startswith("heads.amos22_mr.")


@torch.no_grad()
def predictions(trainer):
    """What the network makes of the validation slices of the sets that were there first."""
    trainer.student.eval()
    images = {name: next(trainer.val[name].batches([slice(0, 6)])).images.float() for name in ("flare22", "atlas23")}
    return {name: trainer.student(each, name) for name, each in images.items()}


def test_an_expert_that_joins_leaves_all_that_was_trained_bitwise_alone(make_trainer, monkeypatch):
    trainer = make_trainer(*THREE, **ADDED, drop_path=0.2)
    start, entered, enter = copies(trainer.student), [], trainer._enter_phase

    def watched():
        entered.append((copies(trainer.student), predictions(trainer)))
        enter()

    monkeypatch.setattr(trainer, "_enter_phase", watched)
    trainer.run()
    ((before, predicted),) = entered
    assert {name for name in start if torch.equal(start[name], before[name])} == set(filter(is_of_the_new, start))
    after = trainer.models["model"]
    assert {name for name in after if not torch.equal(before[name], after[name])} == set(filter(is_of_the_new, after))
    trainer.student.load_trainable_state(after)
    assert all(torch.equal(each, predicted[name]) for name, each in predictions(trainer).items())


def test_a_set_that_joins_counts_from_then_on_and_the_others_go_on_counting(make_trainer):
    trainer = make_trainer(*THREE, **ADDED)
    trainer.run()
    first, second = ([row for row in trainer.history if row["phase"] == phase] for phase in (1, 2))
    old = THREE[:2]
    for row in first:
        assert row["score"] == np.mean([row[f"{name}/score"] for name in old])
        assert row["train_loss"] == np.mean([row[f"{name}/train_loss"] for name in old])
        assert not any(key.startswith("amos22_mr/") for key in row)
    best = max(first, key=lambda row: row["score"])
    for row in second:
        assert row["score"] == np.mean([row[f"{name}/score"] for name in THREE])
        assert row["train_loss"] == row["amos22_mr/train_loss"]
        assert not any(f"{name}/train_loss" in row for name in old)
        assert all(row[f"{name}/score"] == best[f"{name}/score"] for name in old)
    assert trainer.best.score == max(row["score"] for row in second)


def test_every_set_has_as_many_steps_as_where_none_joins_and_each_phase_a_schedule_of_its_own(make_trainer):
    images = {}
    for added in (None, 1):
        trainer = make_trainer(*THREE, **ADDED | {"experts": {"added": added}})
        traces = []
        trainer.run(on_round=lambda row, trainer=trainer, traces=traces: traces.append(trainer.trace[:, 2].sum()))
        images[added] = (trainer.step, int(sum(traces)))
        # What the bar counts to.
        assert trainer._images_done() == images[added][1]
    assert images[1] == images[None]
    assert trainer.phases_from == [0, 2]
    # The last row has the rate of the last of the two rounds' steps on the set that joined.
    last = 2 * trainer.steps["amos22_mr"] - 1
    assert trainer.history[-1]["lr"] == learning_rate(last, peak=4e-3, warmup_steps=0, total_steps=last + 1)


def stopped_after(trainer, steps):
    with pytest.raises(StoppedByRequest):
        trainer.run(stop_requested=lambda: trainer.step == steps)
    return trainer


@pytest.mark.parametrize(
    ("sets", "phases", "optimiser"),
    [(THREE[:2], ALL_PHASES, "adamw"), (THREE[:2], ALL_PHASES, "sgd"), (THREE, ADDED, "adamw")],
    ids=["adamw", "sgd", "added"],
)
def test_a_training_stopped_after_any_step_ends_like_an_uninterrupted_one(
    make_trainer, tmp_path, sets, phases, optimiser
):
    options = phases | {"train": phases["train"] | {"optimiser": optimiser, "lr": 1e-2}, "drop_path": 0.2}
    whole = make_trainer(*sets, **options)
    whole.run()
    for steps in range(1, whole.step, 5):
        checkpoints = Checkpoints(tmp_path / str(steps))
        checkpoints.save(*stopped_after(make_trainer(*sets, **options), steps).state())
        resumed = make_trainer(*sets, **options)
        saved = checkpoints.load(resumed.check_state)
        assert saved is not None
        resumed.restore(*saved)
        resumed.run()
        assert json.dumps(resumed.history) == json.dumps(whole.history)
        assert all(torch.equal(tensor, whole.models["model"][name]) for name, tensor in resumed.models["model"].items())


def test_a_checkpoint_of_another_network_is_refused(make_trainer):
    tensors, values = make_trainer(**ALL_PHASES).state()
    with pytest.raises(ValueError, match="too few or too many"):
        make_trainer(experts={"where": "encoder"}).check_state(tensors, values)


def test_two_trainings_of_one_seed_are_the_same_and_of_two_are_not(make_trainer):
    ends = []
    for seed in (3, 3, 4):
        trainer = make_trainer(seed=seed, **GATED)
        trainer.run()
        ends.append(trainer.models["model"])
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())
    assert not all(torch.equal(tensor, ends[2][name]) for name, tensor in ends[0].items())


def test_it_learns(make_trainer):
    trainer = make_trainer("atlas23", train={"expert_rounds": 30, "lr": 1e-2, "early_stopping_patience": 30})
    trainer.run()
    assert trainer.history[0]["score"] < 0.5 < trainer.best.score


def test_validation_is_without_augmentation_and_drop_path(make_trainer):
    trainer = make_trainer(drop_path=0.5)
    assert trainer._validate("flare22") == trainer._validate("flare22")


def test_volumes_are_measured_as_a_whole(make_trainer):
    trainer = make_trainer("atlas23")
    split, dataset = trainer.val["atlas23"], trainer.config.datasets["atlas23"]

    class Answer(torch.nn.Module):
        """Says what is there, but for the second case, of which it finds nothing."""

        position = 0

        def forward(self, images, name):
            rows = np.arange(self.position, self.position + len(images))
            self.position += len(images)
            labels = torch.from_numpy(np.array(split._mapped[1].array[rows])).long()
            labels[torch.from_numpy(split.where[rows, 0] == 1)] = 0
            return torch.nn.functional.one_hot(labels, dataset.num_classes).movedim(-1, 1).float()

    dsc = organ_dsc(Answer(), split, "atlas23", dataset, precision="fp32", batch_size=4)
    assert dsc == {"organ 1": 0.5, "organ 2": 0.5}


def test_weight_decay_is_on_matrices_only(make_trainer):
    trainer = make_trainer(**ALL_PHASES)
    for optimiser in ("adamw", "sgd"):
        recipe = trainer.config.train.model_copy(update={"optimiser": optimiser, "weight_decay": 0.3})
        optimizer = build_optimizer(trainer.student, trainer.config.model_copy(update={"train": recipe}))
        names = {id(parameter): name for name, parameter in trainer.student.named_parameters()}
        decayed = {names[id(p)] for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
        matrices = {n for n, p in trainer.student.named_parameters() if n.endswith("weight") and p.ndim > 1}
        assert decayed == matrices


def test_the_schedule_of_the_public_code_falls_by_its_power(make_trainer):
    trainer = make_trainer(train={"schedule": "poly", "expert_rounds": 2, "lr": 0.1})
    a_round = sum(trainer.steps.values())
    assert trainer._learning_rate("flare22", 0, 0) == 0.1
    trainer.round = 1
    assert trainer._learning_rate("flare22", 0, 0) == pytest.approx(0.1 * 0.5**0.9)
    assert trainer._learning_rate("flare22", 0, a_round - 1) > 0
