"""What each case contributes to ACC and AUC, held against drawing cases again and against leaving them out."""

import numpy as np
import pytest

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation.contributions import contributions
from mosaic_pipeline.evaluation.inference import covariance_of_means
from mosaic_pipeline.evaluation.metrics import accuracy, auc

KINDS = ("breastmnist", "bloodmnist", "chestmnist", "retinamnist")


def _made(name, cases, seed=0, models=1, rounded=None):
    """Labels [N, L] and scores [N, C] of models that are somewhat right, and alike."""
    dataset, generator = MEDMNIST[name], np.random.default_rng(seed)
    classes = dataset.num_classes
    if dataset.multi_label:
        labels = (generator.random((cases, classes)) < 0.3).astype(np.int64)
        truth = labels.astype(float)
    else:
        labels = (generator.integers(0, classes, cases))[:, None]
        truth = np.eye(classes)[labels[:, 0]]
    common = generator.standard_normal(truth.shape)
    scores = []
    for _ in range(models):
        logits = 1.2 * truth + common + 0.7 * generator.standard_normal(truth.shape)
        each = 1 / (1 + np.exp(-logits)) if dataset.multi_label else np.exp(logits)
        each = each if dataset.multi_label else each / each.sum(axis=1, keepdims=True)
        scores.append(each if rounded is None else each.round(rounded))
    return dataset, labels, scores


@pytest.mark.parametrize("rounded", [None, 1], ids=["distinct", "ties"])
@pytest.mark.parametrize("name", KINDS)
def test_their_mean_is_the_metric(name, rounded):
    dataset, labels, (scores,) = _made(name, 300, rounded=rounded)
    means = contributions(dataset, labels, scores).mean(axis=0)
    assert means == pytest.approx([accuracy(dataset, labels, scores), auc(dataset, labels, scores)])


@pytest.mark.parametrize("name", KINDS)
def test_their_covariance_is_that_of_cases_drawn_again(name):
    dataset, labels, scores = _made(name, 400, models=2)
    cases = np.stack([contributions(dataset, labels, each) for each in scores])
    generator, rows = np.random.default_rng(1), []
    for _ in range(600):
        drawn = generator.integers(0, len(labels), len(labels))
        rows.append([[metric(dataset, labels[drawn], each[drawn]) for each in scores] for metric in (accuracy, auc)])
    for place, metric in enumerate(np.moveaxis(np.array(rows), 1, 0)):
        expected = np.cov(metric.T)
        assert covariance_of_means(cases[:, :, place]) == pytest.approx(expected, rel=0.25)
        assert expected[0, 1] > 0.2 * expected[0, 0]


def test_of_one_curve_they_give_delong_s_variance():
    """By hand: the variance of the shares of negatives below each positive, and of positives above each negative."""
    dataset, labels, (scores,) = _made("breastmnist", 40)
    positive, score = labels[:, 0] == 1, scores[:, 1]
    pairs = (score[positive][:, None] > score[~positive]) + 0.5 * (score[positive][:, None] == score[~positive])
    expected = pairs.mean(axis=1).var(ddof=1) / positive.sum() + pairs.mean(axis=0).var(ddof=1) / (~positive).sum()
    found = contributions(dataset, labels, scores)[:, 1]
    assert np.sum((found - found.mean()) ** 2) / len(found) ** 2 == pytest.approx(expected)


def test_a_class_that_is_absent_leaves_auc_undefined_and_acc_as_it_is():
    dataset, labels, (scores,) = _made("bloodmnist", 60)
    labels[labels == 7] = 0
    found = contributions(dataset, labels, scores)
    assert np.isnan(found[:, 1]).all()
    assert found[:, 0].mean() == pytest.approx(accuracy(dataset, labels, scores))


def test_how_the_only_case_of_a_class_varies_is_unknown():
    dataset, labels, (scores,) = _made("breastmnist", 30)
    for only, rest in ((1, 0), (0, 1)):
        labels[:] = rest
        labels[3] = only
        found = contributions(dataset, labels, scores)
        assert np.isnan(found[:, 1]).all()
        assert np.isfinite(found[:, 0]).all()


def test_a_constant_answer_varies_in_accuracy_with_the_class_mix():
    dataset, labels, _ = _made("breastmnist", 200)
    found = contributions(dataset, labels, np.tile([0.9, 0.1], (200, 1)))
    share = (labels == 0).mean()
    assert covariance_of_means(found[:, 0][None])[0, 0] == pytest.approx(share * (1 - share) / 199)
    assert not np.ptp(found[:, 1])
