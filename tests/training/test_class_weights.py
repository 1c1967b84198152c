"""Balanced classes: the weights by hand, the loss by hand, and nothing where nothing is weighted."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.processes import Processes
from mosaic_pipeline.training.class_weights import class_weights
from mosaic_pipeline.training.conflicts import mean_gradient
from mosaic_pipeline.training.losses import classification_loss

SKEWED = torch.tensor([[0]] * 6 + [[1]] * 3 + [[3]])  # of five classes, 2 and 4 are missing
ANSWERS = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]])


def test_a_case_counts_by_the_rarity_of_its_class_and_all_of_them_one_in_the_mean():
    weights = class_weights("balanced", MEDMNIST["retinamnist"], SKEWED)
    # n = 10 cases over the k = 3 classes that occur: 10 / (3 * 6), 10 / (3 * 3), 10 / 3.
    torch.testing.assert_close(weights, torch.tensor([10 / 18, 10 / 9, 0, 10 / 3, 0]))
    assert weights[SKEWED[:, 0]].mean().item() == pytest.approx(1)


def test_a_yes_counts_as_much_as_all_noes_and_nothing_where_there_is_none():
    weights = class_weights("balanced", MEDMNIST["chestmnist"], ANSWERS)
    torch.testing.assert_close(weights, torch.tensor([3, 0, 0, 1 / 3]))


def test_the_weighted_cross_entropy_by_hand():
    weights, logits = torch.tensor([0.5, 2.0]), torch.tensor([[0.0, 0.0], [0.0, np.log(3)], [np.log(3), 0.0]])
    labels = torch.tensor([[0], [1], [1]])
    # Probabilities of the truth: 1/2, 3/4 and 1/4; the sum is over weighted cases, the division by their number.
    expected = (0.5 * np.log(2) + 2 * np.log(4 / 3) + 2 * np.log(4)) / 3
    loss = classification_loss(logits, labels, multi_label=False, weights=weights)
    assert loss.item() == pytest.approx(expected)


def test_the_weighted_loss_of_several_labels_by_hand():
    logits, labels = torch.tensor([[0.0, np.log(3)], [0.0, np.log(3)]]), torch.tensor([[1, 0], [0, 1]])
    # A yes counts threefold for the first label and not at all for the second; each no counts once.
    expected = (3 * np.log(2) + np.log(4) + np.log(2) + 0) / 4
    loss = classification_loss(logits, labels, multi_label=True, weights=torch.tensor([3.0, 0.0]))
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["retinamnist", "breastmnist", "chestmnist"])
def test_without_weights_the_loss_is_torchs_own_to_the_bit(name):
    dataset, generator = MEDMNIST[name], torch.Generator().manual_seed(0)
    logits = torch.randn(17, dataset.num_classes, generator=generator)
    highest = 1 if dataset.multi_label else dataset.num_classes - 1
    labels = torch.randint(0, highest + 1, (17, dataset.label_columns), generator=generator)
    assert class_weights(None, dataset, labels) is None
    plain = (
        F.binary_cross_entropy_with_logits(logits, labels.float())
        if dataset.multi_label
        else F.cross_entropy(logits, labels[:, 0])
    )
    assert torch.equal(classification_loss(logits, labels, multi_label=dataset.multi_label, weights=None), plain)


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_parts_of_several_processes_add_up_to_the_weighted_loss_of_the_batch(multi_label):
    generator = torch.Generator().manual_seed(0)
    logits, weights = torch.randn(7, 4, generator=generator), torch.tensor([0.1, 5.0, 2.0, 1.0])
    labels = torch.randint(0, 2 if multi_label else 4, (7, 4 if multi_label else 1), generator=generator)

    def loss(rows):
        return classification_loss(logits[rows], labels[rows], multi_label=multi_label, weights=weights)

    shares = [share for rank in range(3) for share in Processes(rank, 3).shares(7, 7)]
    parts = [loss(share.positions) * share.weight for share in shares]
    torch.testing.assert_close(sum(parts) / 3, loss(slice(None)))


@pytest.mark.parametrize("name", ["retinamnist", "chestmnist"])
def test_a_step_of_the_training_minimises_the_loss_weighted_by_the_training_labels(make_trainer, monkeypatch, name):
    whole_batch = {"train__batch_size": 12, "train__consist_weight": 0.0, "train__validate_visits": False}
    trainer = make_trainer((name,), train__class_weights="balanced", **whole_batch)
    seen, forward, loss = {}, trainer.student.forward, trainer._loss

    def record_logits(images, dataset):
        feature, seen["logits"] = forward(images, dataset)
        return feature, seen["logits"]

    def record_labels(images, draws, labels, dataset):
        seen["labels"] = labels.numpy()
        return loss(images, draws, labels, dataset)

    monkeypatch.setattr(trainer.student, "forward", record_logits)
    monkeypatch.setattr(trainer, "_loss", record_labels)
    minimised = trainer.visit(name)

    logits, labels = seen["logits"].detach().double().numpy(), seen["labels"]
    if MEDMNIST[name].multi_label:
        yes = labels.sum(axis=0)
        cases = np.where(labels == 1, (12 - yes) / yes * np.log1p(np.exp(-logits)), np.log1p(np.exp(logits)))
    else:
        counts = np.bincount(labels[:, 0])
        likelihood = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        cases = -(12 / (len(counts) * counts))[labels] * np.take_along_axis(likelihood, labels, axis=1)
    assert minimised == pytest.approx(cases.mean(), rel=1e-5)
    assert minimised != pytest.approx(make_trainer((name,), **whole_batch).visit(name), rel=1e-3)


def test_the_gradients_whose_conflicts_are_measured_are_those_of_the_weighted_loss(make_trainer):
    name = "retinamnist"
    weighted, plain = (
        make_trainer((name, "breastmnist"), adapter__routing="shared", train__class_weights=kind)
        for kind in ("balanced", "none")
    )
    rows = torch.tensor([2, 7])  # both of class 2, of which there are two in twelve; five classes
    first, second = (
        mean_gradient(
            trainer.student, trainer.student.specialists["shared"], trainer.config, trainer.train[name], name, rows
        )
        for trainer in (weighted, plain)
    )
    assert any(gradient.abs().max() > 0 for gradient in second)
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other * 12 / (5 * 2))
