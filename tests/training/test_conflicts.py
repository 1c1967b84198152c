import json
import math
import shutil
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mosaic_pipeline.data.batches import Split
from mosaic_pipeline.training.conflicts import halve, mean_gradient, measure_conflicts
from mosaic_pipeline.training.cosines import cosine_matrix
from mosaic_pipeline.training.engine import StoppedByRequest
from mosaic_pipeline.training.outputs import write_outputs

CPU = torch.device("cpu")
ONE_OF_EACH = ("retinamnist", "breastmnist", "chestmnist", "nodulemnist3d")
TWINS = ("breastmnist", "pneumoniamnist")
KINDS = ("bottleneck", "lora", "prompt")


@pytest.fixture
def make_shared(make_model, make_config, cached) -> Callable[..., SimpleNamespace]:
    """Build a model with one specialist for all, off its start, and its training splits; keywords as for `make_config`.

    `folders` names the cached dataset to read in place of another one.
    """

    def make(datasets=ONE_OF_EACH, cases: int = 10, batch_size: int = 4, folders=None, **overrides) -> SimpleNamespace:
        overrides |= {"adapter__routing": "shared", "train__conflict_cases": cases, "train__batch_size": batch_size}
        model = make_model(datasets, **overrides)
        generator = torch.Generator().manual_seed(1)
        for tensor in model.trainable_state().values():
            tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
        folders = {name: name for name in datasets} | (folders or {})
        train = {name: Split(cached / folder, "train", CPU) for name, folder in folders.items()}
        return SimpleNamespace(model=model, config=make_config(datasets, **overrides), train=train)

    return make


def measured(shared) -> dict:
    return measure_conflicts(shared.model, shared.config, shared.train)


def gradient(shared, name: str, rows=None) -> list[torch.Tensor]:
    split = shared.train[name]
    rows = torch.cat(halve(split.labels.numpy(), shared.config.train.conflict_cases)) if rows is None else rows
    return mean_gradient(shared.model, shared.model.specialists["shared"], shared.config, split, name, rows)


def twins(make_shared, folders=None, **overrides):
    """Two datasets with the same images, labels and head weights."""
    folders = {"pneumoniamnist": "breastmnist"} if folders is None else folders
    shared = make_shared(TWINS, folders=folders, **overrides)
    shared.model.heads["pneumoniamnist"].load_state_dict(shared.model.heads["breastmnist"].state_dict())
    return shared


@pytest.mark.parametrize("kind", KINDS)
def test_cosines_are_symmetric_with_ones_on_the_diagonal(make_shared, kind):
    cosine = torch.tensor(measured(make_shared(adapter__kind=kind))["cosine"])
    assert cosine.shape == (4, 4)
    assert torch.equal(cosine, cosine.T)
    torch.testing.assert_close(cosine.diagonal(), torch.ones(4))
    off = cosine[~torch.eye(4, dtype=torch.bool)]
    assert (off.abs() < 0.999).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_task_twice_pulls_the_same_way(make_shared, kind):
    assert measured(twins(make_shared, adapter__kind=kind))["cosine"][0][1] == pytest.approx(1)


def test_opposite_tasks_pull_opposite_ways(make_shared, cached):
    shutil.copytree(cached / "breastmnist", cached / "pneumoniamnist")
    np.save(cached / "pneumoniamnist/train_labels.npy", 1 - np.load(cached / "breastmnist/train_labels.npy"))
    shared = twins(make_shared, folders={}, cases=12)
    # With both answers nearly equally likely, what labels pull up their opposites pull down as much.
    for head in shared.model.heads.values():
        head.weight.data.mul_(1e-5)
        head.bias.data.zero_()
    assert measured(shared)["cosine"][0][1] == pytest.approx(-1, abs=1e-3)


def test_the_gradient_is_that_of_the_mean_loss_over_the_cases_whatever_the_batches(make_shared):
    whole, parts = make_shared(batch_size=10), make_shared(batch_size=4)  # the last one is smaller
    for name in ONE_OF_EACH:
        torch.testing.assert_close(gradient(parts, name), gradient(whole, name), rtol=1e-4, atol=1e-6)


def test_the_cosines_are_of_the_gradients_over_all_cases(make_shared):
    shared = make_shared(cases=9)  # halves of five and four
    expected = cosine_matrix([gradient(shared, name) for name in ONE_OF_EACH])
    torch.testing.assert_close(torch.tensor(measured(shared)["cosine"]), torch.tensor(expected), rtol=0, atol=2e-6)


def test_halves_of_the_same_cases_agree_and_a_single_case_has_none(make_shared, cached):
    halves = measured(make_shared())["halves"]
    assert len(halves) == 4
    assert all(value < 0.999 for value in halves)
    for part in ("images", "labels"):
        file = cached / f"breastmnist/train_{part}.npy"
        np.save(file, np.repeat(np.load(file)[:6], 2, axis=0))
    assert measured(make_shared(cases=12))["halves"][1] == pytest.approx(1)
    single = measured(make_shared(cases=1))
    assert single["halves"] == [None] * 4
    assert not any(value is None for row in single["cosine"] for value in row)


def test_halves_hold_every_chosen_case_once_and_each_class_alike():
    labels = np.array([0, 1, 0, 0, 2, 1, 2, 0, 1, 0])[:, None]
    halves = [half.numpy() for half in halve(labels, 10)]
    assert sorted(np.concatenate(halves)) == list(range(10))
    counts = [np.bincount(labels[half, 0], minlength=3) for half in halves]
    assert np.abs(counts[0] - counts[1]).max() <= 1
    few = np.concatenate(halve(labels, 4))
    assert len(few) == 4
    assert set(labels[few, 0]) == {0, 1, 2}


def test_the_gradient_is_the_slope_of_the_loss(make_shared):
    shared, name = make_shared(batch_size=12), "chestmnist"
    shared.model.statistics = ((0.1, 0.5, 0.9), (0.05, 1.0, 0.1))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in shared.model.statistics)
    split, specialist = shared.train[name], shared.model.specialists["shared"]
    (batch,) = split.batches([slice(0, 12)])

    def loss() -> float:
        with torch.no_grad():
            images = torch.nn.functional.interpolate(batch.images[:, None] / 255, (32, 32), mode="bilinear")
            _, logits = shared.model((images.repeat(1, 3, 1, 1) - mean) / std, name)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.labels.float()).item()

    found = gradient(shared, name, torch.arange(12))
    index, step = 3, 0.02  # the bias of Up in the first block
    parameter, slope = list(specialist.parameters())[index], found[index]
    direction = slope / slope.norm()
    parameter.data.add_(step * direction)
    above = loss()
    parameter.data.sub_(2 * step * direction)
    assert (above - loss()) / (2 * step) == pytest.approx(slope.norm().item(), rel=0.02)


def test_cosines_by_hand_over_all_parts_of_a_vector():
    x = [torch.tensor([[3.0, 0.0]]), torch.tensor([4.0])]
    y = [torch.tensor([[5.0, 0.0]]), torch.zeros(1)]
    zero = [torch.zeros(1, 2), torch.zeros(1)]
    cosine = cosine_matrix([x, y, zero])
    assert cosine[0][:2] == pytest.approx([1, 0.6])
    assert all(math.isnan(value) for value in cosine[2])


def written(trainer, folder) -> dict[str, bytes]:
    """Every file of a finished training."""
    write_outputs(folder, trainer, {"variant": "any", "seed": 0}, {})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("changes", [{"variant": "shared"}, {"variant": "prompt_joint"}, {"variant": "lora_joint_r8"}])
def test_measuring_changes_no_other_byte_of_a_training(make_trainer, tmp_path, changes):
    files = []
    for cases in (0, 6):
        trainer = make_trainer(train__conflict_cases=cases, **changes)
        trainer.run()
        files.append(written(trainer, tmp_path / str(cases)))
    assert [name for name in files[0] if files[0][name] != files[1][name]] == ["conflicts.json"]
    without, measured = (json.loads(each["conflicts.json"]) for each in files)
    assert without == {"variant": "any", "seed": 0, "conflicts": None}
    found = measured["conflicts"]
    assert (found["datasets"], found["cases"], len(found["rounds"])) == (list(ONE_OF_EACH), 6, 2)
    assert found["rounds"][0] != found["rounds"][1]


@pytest.mark.parametrize("variant", ["mosaic", "per_dataset", "linear_probe"])
def test_without_a_specialist_that_all_share_nothing_is_measured(make_trainer, tmp_path, variant):
    trainer = make_trainer(variant=variant)
    trainer.run()
    assert json.loads(written(trainer, tmp_path / "run")["conflicts.json"])["conflicts"] is None


@pytest.mark.parametrize("steps", [3, 8, 13])  # within the first round, after its last step, within the second one
def test_an_interrupted_training_ends_with_the_same_bytes(make_trainer, tmp_path, steps):
    whole, first, second = (make_trainer(variant="shared") for _ in range(3))
    whole.run()
    with pytest.raises(StoppedByRequest):
        first.run(stop_requested=lambda: first.step == steps)
    tensors, values = first.state()
    second.restore(tensors, json.loads(json.dumps(values)))
    second.run()
    assert written(second, tmp_path / "second") == written(whole, tmp_path / "whole")


def test_the_weights_are_those_after_the_round(make_trainer):
    trainer = make_trainer(variant="shared", train__num_rounds=1)
    trainer.run()
    assert measure_conflicts(trainer.student, trainer.config, trainer.train) == trainer.conflicts[0]
