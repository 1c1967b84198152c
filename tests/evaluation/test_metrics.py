import math
import warnings

import numpy as np
import pytest
from medmnist.evaluator import getACC, getAUC

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation import metrics

BY_TASK = {
    "multi-class": "bloodmnist",
    "ordinal-regression": "retinamnist",
    "binary-class": "breastmnist",
    "multi-label, binary-class": "chestmnist",
}


def simulated(name: str, count: int = 200, *, ties: bool = False):
    dataset = MEDMNIST[name]
    generator = np.random.default_rng(5)
    logits = generator.normal(size=(count, dataset.num_classes)).astype(np.float32)
    if dataset.multi_label:
        labels = (logits + generator.normal(size=logits.shape) > 0.7).astype(np.int64)
        scores = 1 / (1 + np.exp(-logits))
    else:
        labels = (logits + 2 * generator.normal(size=logits.shape)).argmax(axis=1)[:, None]
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return dataset, labels, (scores.round(1) if ties else scores).astype(np.float32)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("task", BY_TASK)
def test_acc_and_auc_are_those_of_the_official_evaluator(task, ties):
    dataset, labels, scores = simulated(BY_TASK[task], ties=ties)
    assert dataset.task == task
    assert metrics.accuracy(dataset, labels, scores) == pytest.approx(getACC(labels, scores, task), abs=1e-12)
    assert metrics.auc(dataset, labels, scores) == pytest.approx(getAUC(labels, scores, task), abs=1e-12)


@pytest.mark.parametrize("name", ["breastmnist", "bloodmnist", "chestmnist"])
def test_auc_is_undefined_when_a_class_is_absent(name):
    dataset, labels, scores = simulated(name)
    labels = labels.copy()
    labels[:, 0][labels[:, 0] == 1] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(metrics.auc(dataset, labels, scores))


def test_retinamnist_counts_exact_grades_only():
    dataset = MEDMNIST["retinamnist"]
    scores = np.eye(5, dtype=np.float32)[[0, 1, 2, 3]]
    assert metrics.accuracy(dataset, np.array([[0], [2], [2], [4]]), scores) == 0.5


def test_loss_by_hand_and_finite_for_certain_errors():
    dataset = MEDMNIST["breastmnist"]
    scores = np.array([[0.25, 0.75], [1.0, 0.0]], dtype=np.float32)
    assert metrics.negative_log_likelihood(dataset, np.array([[1], [0]]), scores) == pytest.approx(
        -math.log(0.75) / 2, rel=1e-5
    )
    assert math.isfinite(metrics.negative_log_likelihood(dataset, np.array([[1], [1]]), scores))


def test_multi_label_loss_is_the_mean_over_cases_and_labels():
    dataset, labels, _ = simulated("chestmnist", 2)
    scores = np.full((2, 14), 0.25, dtype=np.float32)
    labels = np.zeros((2, 14), dtype=np.int64)
    labels[0, :7] = 1
    expected = -(7 * math.log(0.25) + 21 * math.log(0.75)) / 28
    assert metrics.negative_log_likelihood(dataset, labels, scores) == pytest.approx(expected)


@pytest.mark.parametrize("name", BY_TASK.values())
def test_the_loss_is_the_mean_of_the_cases_losses(name):
    dataset, labels, scores = simulated(name)
    each = metrics.case_losses(dataset, labels, scores)
    alone = [metrics.negative_log_likelihood(dataset, labels[[row]], scores[[row]]) for row in range(len(labels))]
    np.testing.assert_allclose(each, alone, rtol=1e-12)
    assert metrics.negative_log_likelihood(dataset, labels, scores) == pytest.approx(each.mean())


@pytest.mark.parametrize("name", ["breastmnist", "bloodmnist"])
def test_confusion_counts_every_case_once_and_its_diagonal_is_the_accuracy(name):
    dataset, labels, scores = simulated(name)
    counts = metrics.confusion(dataset, labels, scores)
    assert counts.sum(axis=1).tolist() == np.bincount(labels[:, 0], minlength=dataset.num_classes).tolist()
    assert np.trace(counts) / len(labels) == pytest.approx(metrics.accuracy(dataset, labels, scores))


def test_confusion_of_a_multi_label_task_is_one_table_per_label():
    dataset, labels, scores = simulated("chestmnist")
    counts = metrics.confusion(dataset, labels, scores)
    assert counts.shape == (14, 2, 2)
    first, predicted = labels[:, 0], scores[:, 0] > 0.5
    assert counts[0].tolist() == [[int(((first == a) & (predicted == p)).sum()) for p in (0, 1)] for a in (0, 1)]


@pytest.mark.parametrize("name", BY_TASK.values())
def test_the_area_under_the_macro_roc_is_the_auc(name):
    dataset, labels, scores = simulated(name, 2000)
    tpr = metrics.macro_roc(dataset, labels, scores, points=1001)
    area = np.trapezoid(tpr, np.linspace(0, 1, 1001))
    assert area == pytest.approx(metrics.auc(dataset, labels, scores), abs=2e-3)
    assert tpr[-1] == 1
    assert (np.diff(tpr) >= 0).all()


def test_equal_scores_give_the_diagonal_whatever_the_order_of_the_cases():
    dataset, labels, scores = simulated("breastmnist")
    tpr = metrics.macro_roc(dataset, np.sort(labels, axis=0), np.full_like(scores, 0.5))
    np.testing.assert_allclose(tpr, np.linspace(0, 1, 101), atol=1e-12)


def test_the_macro_roc_of_one_class_only_is_undefined():
    dataset, labels, scores = simulated("breastmnist")
    assert np.isnan(metrics.macro_roc(dataset, np.ones_like(labels), scores)).all()
