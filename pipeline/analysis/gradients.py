"""Gradient conflict: in which directions the datasets pull a specialist that they all share."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Any

import torch
from torch import Tensor

from pipeline.analysis.subject import Subject
from pipeline.datasets import DATASETS, SPECIALISTS
from pipeline.evaluation.undefined import mean_of_defined
from pipeline.training.losses import classification_loss


def gradients(subject: Subject) -> dict[str, Any] | None:
    """Compare the datasets' gradients of the shared specialist by their cosine; below zero they are in conflict.

    Returns the specialist, the datasets in the order of the rows, the cosines [D, D] (nan for a gradient of zero),
    their means within and between the groups A, B and C, and the cosines [D] between the gradients of two halves of a
    dataset's cases: what noise leaves of a cosine of one, with half as many cases. None unless all datasets share one
    specialist.
    """
    if len(subject.model.specialists) != 1:
        return None
    (specialist,) = subject.model.specialists
    datasets = list(subject.cases)
    vectors, agreement = [], []
    for name in datasets:
        halves = subject.cases[name].halves()
        gradient = [mean_gradient(replace(subject, cases={name: half}), name, specialist) for half in halves]
        agreement.append(cosine_matrix(gradient)[0][1])
        share = len(halves[0]) / len(subject.cases[name])
        vectors.append(torch._foreach_lerp(gradient[1], gradient[0], share))
    cosine = cosine_matrix(vectors)
    return {
        "specialist": specialist,
        "datasets": datasets,
        "cosine": cosine,
        "groups": group_means(datasets, cosine),
        "halves": agreement,
    }


def mean_gradient(subject: Subject, name: str, specialist: str) -> list[Tensor]:
    """Return the gradient of a dataset's mean classification loss over its cases, a tensor for each parameter.

    At the weights as they are: no parameter moves, and none has its `grad` set.
    """
    model, dataset = subject.model, DATASETS[name]
    parameters = list(model.specialists[specialist].parameters())
    total = [torch.zeros_like(parameter) for parameter in parameters]
    for images, labels in subject.batches(name):
        with subject.autocast():
            _, logits = model(images, name)
        loss = classification_loss(logits.float(), labels, multi_label=dataset.multi_label)
        share = len(labels) / len(subject.cases[name])
        torch._foreach_add_(total, torch.autograd.grad(loss, parameters), alpha=share)
    return total


def cosine_matrix(vectors: Sequence[Sequence[Tensor]]) -> list[list[float]]:
    """Return the cosines [D, D] of D vectors, each given as parts; nan where one of the two is zero."""
    products = torch.zeros(len(vectors), len(vectors), dtype=torch.float64)
    # Part by part and in double precision: the vectors together fill memory, and sums are over millions.
    for parts in zip(*vectors, strict=True):
        rows = torch.stack([part.detach().flatten() for part in parts]).double()
        products += (rows @ rows.T).cpu()
    norms = products.diagonal().sqrt()
    return (products / norms[:, None] / norms[None, :]).tolist()


def group_means(datasets: Sequence[str], cosine: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the mean defined cosine over pairs of different datasets by their groups, "A-A" to "C-C"; nan without."""
    pairs: dict[str, list[float]] = {
        f"{one}-{other}": [] for one, other in combinations_with_replacement(SPECIALISTS, 2)
    }
    for row in range(len(datasets)):
        for column in range(row):
            one, other = sorted(DATASETS[datasets[index]].specialist for index in (row, column))
            pairs[f"{one}-{other}"].append(cosine[row][column])
    return {groups: float(mean_of_defined(values)) for groups, values in pairs.items()}
