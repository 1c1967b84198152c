import math
import warnings

import numpy as np
import pytest

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation.macro import balanced_accuracy, macro_f1
from mosaic_pipeline.evaluation.metrics import predictions

NAMES = ["retinamnist", "bloodmnist", "breastmnist"]
BLOOD, CHEST = MEDMNIST["bloodmnist"], MEDMNIST["chestmnist"]


@pytest.fixture
def reference():
    """scikit-learn, which comes with MLflow and which the pipeline itself does without."""
    return pytest.importorskip("sklearn.metrics")


def simulated(name: str, count: int = 200):
    dataset, generator = MEDMNIST[name], np.random.default_rng(6)
    scores = generator.dirichlet(np.ones(dataset.num_classes), count).astype(np.float32)
    if dataset.multi_label:
        return dataset, (generator.random(scores.shape) < 0.2).astype(np.int64), (6 * scores).clip(0, 1)
    return dataset, generator.integers(0, dataset.num_classes, (count, 1)) // 2, scores


def one_hot(classes: list[int]) -> np.ndarray:
    return np.eye(8, dtype=np.float32)[classes]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_balanced_accuracy_and_macro_f1_are_those_of_scikit_learn(name, reference):
    dataset, labels, scores = simulated(name)
    predicted = predictions(dataset, scores)[:, 0]
    assert balanced_accuracy(dataset, labels, scores) == pytest.approx(
        reference.balanced_accuracy_score(labels[:, 0], predicted), abs=1e-12
    )
    assert macro_f1(dataset, labels, scores) == pytest.approx(
        reference.f1_score(labels[:, 0], predicted, average="macro"), abs=1e-12
    )


def test_for_multi_label_both_are_means_over_labels(reference):
    dataset, labels, scores = simulated("chestmnist")
    predicted = predictions(dataset, scores)
    balanced = [reference.balanced_accuracy_score(*pair) for pair in zip(labels.T, predicted.T, strict=True)]
    assert balanced_accuracy(dataset, labels, scores) == pytest.approx(np.mean(balanced), abs=1e-12)
    expected = reference.f1_score(labels, predicted, average="macro")
    assert macro_f1(dataset, labels, scores) == pytest.approx(expected, abs=1e-12)


def test_a_class_with_neither_cases_nor_predictions_is_left_out():
    labels = np.array([0, 0, 0, 1])[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert balanced_accuracy(BLOOD, labels, one_hot([0, 0, 1, 1])) == pytest.approx((2 / 3 + 1) / 2)
        assert macro_f1(BLOOD, labels, one_hot([0, 0, 1, 1])) == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_a_class_without_cases_that_is_predicted_counts_for_f1_and_has_no_recall():
    labels = np.array([0, 0, 1, 1])[:, None]
    assert macro_f1(BLOOD, labels, one_hot([0, 0, 1, 2])) == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert balanced_accuracy(BLOOD, labels, one_hot([0, 0, 1, 2])) == pytest.approx(0.75)


def test_labels_that_never_are_and_never_are_predicted_have_no_f1():
    labels, scores = np.zeros((4, 14), dtype=np.int64), np.zeros((4, 14), dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(macro_f1(CHEST, labels, scores))
        assert balanced_accuracy(CHEST, labels, scores) == 1  # every "no" is right
    labels[0, 0] = scores[0, 0] = 1
    assert macro_f1(CHEST, labels, scores) == 1
