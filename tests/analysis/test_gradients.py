import math
import shutil

import numpy as np
import pytest
import torch

from pipeline.analysis.gradients import cosine_matrix, gradients, group_means, mean_gradient

TWINS = ("breastmnist", "pneumoniamnist")
SAME_IMAGES = {"pneumoniamnist": "breastmnist"}
KINDS = ("bottleneck", "lora", "prompt")


def twins(make_subject, folders=SAME_IMAGES, **overrides):
    """Two datasets with the same images, labels and head weights."""
    subject = make_subject(TWINS, folders=folders, adapter__routing="shared", **overrides)
    heads = subject.model.heads
    heads["pneumoniamnist"].load_state_dict(heads["breastmnist"].state_dict())
    return subject


@pytest.mark.parametrize("kind", KINDS)
def test_cosines_are_symmetric_with_ones_on_the_diagonal(make_subject, kind):
    cosine = torch.tensor(gradients(make_subject(adapter__kind=kind, adapter__routing="shared"))["cosine"])
    assert cosine.shape == (4, 4)
    assert torch.equal(cosine, cosine.T)
    torch.testing.assert_close(cosine.diagonal(), torch.ones(4))
    off = cosine[~torch.eye(4, dtype=torch.bool)]
    assert (off.abs() < 0.999).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_task_twice_pulls_the_same_way(make_subject, kind):
    assert gradients(twins(make_subject, adapter__kind=kind))["cosine"][0][1] == pytest.approx(1)


def test_opposite_tasks_pull_opposite_ways(make_subject, cached):
    shutil.copytree(cached / "breastmnist", cached / "pneumoniamnist")
    np.save(cached / "pneumoniamnist/val_labels.npy", 1 - np.load(cached / "breastmnist/val_labels.npy"))
    subject = twins(make_subject, folders={})
    # With both answers nearly equally likely, what labels pull up their opposites pull down as much.
    for head in subject.model.heads.values():
        head.weight.data.mul_(1e-5)
        head.bias.data.zero_()
    assert gradients(subject)["cosine"][0][1] == pytest.approx(-1, abs=1e-3)


def test_the_gradient_is_that_of_the_mean_loss_over_the_cases_whatever_the_batches(make_subject):
    whole = make_subject(adapter__routing="shared", batch_size=10)
    parts = make_subject(adapter__routing="shared", batch_size=4)  # the last one is smaller
    for name in whole.cases:
        expected, found = (mean_gradient(subject, name, "shared") for subject in (whole, parts))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_the_cosines_are_of_the_gradients_over_all_cases(make_subject):
    subject = make_subject(adapter__routing="shared", limit=9)  # halves of five and four
    expected = cosine_matrix([mean_gradient(subject, name, "shared") for name in subject.cases])
    torch.testing.assert_close(torch.tensor(gradients(subject)["cosine"]), torch.tensor(expected))


def test_halves_of_the_same_cases_agree_and_a_single_case_has_none(make_subject, cached):
    agree = gradients(make_subject(adapter__routing="shared"))["halves"]
    assert len(agree) == 4
    assert all(value < 0.999 for value in agree)
    for part in ("images", "labels"):
        file = cached / f"breastmnist/val_{part}.npy"
        np.save(file, np.repeat(np.load(file)[:5], 2, axis=0))
    found = gradients(make_subject(adapter__routing="shared"))
    assert found["halves"][found["datasets"].index("breastmnist")] == pytest.approx(1)
    single = gradients(make_subject(adapter__routing="shared", limit=1))
    assert all(math.isnan(value) for value in single["halves"])
    assert not any(math.isnan(value) for row in single["cosine"] for value in row)


def test_the_gradient_is_the_slope_of_the_loss(make_subject):
    subject, name = make_subject(adapter__routing="shared", batch_size=10), "chestmnist"
    specialist, (images, labels) = subject.model.specialists["shared"], next(subject.batches(name))

    def loss() -> float:
        with torch.no_grad():
            _, logits = subject.model(images, name)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.float()).item()

    gradient = mean_gradient(subject, name, "shared")
    index, step = 3, 0.02  # the bias of Up in the first block
    parameter, slope = list(specialist.parameters())[index], gradient[index]
    direction = slope / slope.norm()
    parameter.data.add_(step * direction)
    above = loss()
    parameter.data.sub_(2 * step * direction)
    assert (above - loss()) / (2 * step) == pytest.approx(slope.norm().item(), rel=0.02)


def test_parameters_and_their_gradients_are_left_as_found(make_subject):
    subject = make_subject(adapter__routing="shared")
    before = {name: tensor.clone() for name, tensor in subject.model.trainable_state().items()}
    gradients(subject)
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.model.trainable_state().items())
    assert all(parameter.grad is None for parameter in subject.model.parameters())


def test_cosines_by_hand_over_all_parts_of_a_vector():
    x = [torch.tensor([[3.0, 0.0]]), torch.tensor([4.0])]
    y = [torch.tensor([[5.0, 0.0]]), torch.zeros(1)]
    zero = [torch.zeros(1, 2), torch.zeros(1)]
    cosine = cosine_matrix([x, y, zero])
    assert cosine[0][:2] == pytest.approx([1, 0.6])
    assert all(math.isnan(value) for value in cosine[2])


def test_group_means_count_each_pair_of_different_datasets_once():
    datasets = ["nodulemnist3d", "retinamnist", "breastmnist", "dermamnist"]  # C A B A
    cosine = [[1, 0.1, 0.2, 0.3], [0.1, 1, 0.4, 0.5], [0.2, 0.4, 1, 0.6], [0.3, 0.5, 0.6, 1]]
    means = group_means(datasets, cosine)
    assert {key: value for key, value in means.items() if not math.isnan(value)} == pytest.approx(
        {"A-A": 0.5, "A-B": 0.5, "A-C": 0.2, "B-C": 0.2}
    )
    assert set(means) == {"A-A", "A-B", "A-C", "B-B", "B-C", "C-C"}
