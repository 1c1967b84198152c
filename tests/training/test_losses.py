import math

import pytest
import torch

from mosaic_pipeline.training.losses import classification_loss, mosaic_loss


def test_cross_entropy_by_hand():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    labels = torch.tensor([[1], [0]])
    # Probabilities of the truth: 3/4 and 1/2.
    expected = -(math.log(3 / 4) + math.log(1 / 2)) / 2
    assert classification_loss(logits, labels, multi_label=False).item() == pytest.approx(expected)


def test_multi_label_loss_is_the_mean_over_cases_and_labels_by_hand():
    logits = torch.tensor([[0.0, math.log(3)]])
    labels = torch.tensor([[1, 0]])
    # Sigmoids: 1/2 for a label that is there, 3/4 for one that is not.
    expected = -(math.log(1 / 2) + math.log(1 / 4)) / 2
    assert classification_loss(logits, labels, multi_label=True).item() == pytest.approx(expected)


def test_the_whole_loss_weighs_classification_against_consistency_by_hand():
    student, teacher = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])
    loss = mosaic_loss(torch.tensor(2.0), student, teacher, consist_weight=0.1)
    # 0.9 * 2 + 0.1 * (1 + 4) / 2
    assert loss.item() == pytest.approx(2.05)


def test_the_public_code_adds_consistency_to_the_whole_classification_loss():
    student, teacher = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])
    loss = mosaic_loss(torch.tensor(2.0), student, teacher, consist_weight=0.1, consist_form="add")
    # 2 + 0.1 * (1 + 4) / 2
    assert loss.item() == pytest.approx(2.25)
