"""A linear head on features that were trained for something else: a logistic regression, as linear probes use.

Features are standardised by the training split; how strongly weights are held back is chosen on the validation split.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.evaluation import metrics
from mosaic_pipeline.evaluation.undefined import mean_of_defined
from mosaic_pipeline.present import present

# scikit-learn's C: what the sum of the cases' losses weighs beside half of the squared weights.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
# More than what is worth trying needs; a weaker penalty that stops here is judged by validation like any other.
ITERATIONS = 1000

Probabilities = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Labelled:
    """Features [N, D] and labels int64 [N, L] of one split."""

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Head:
    """The head that validates best; `probabilities` maps features [N, D] to scores float32 [N, C].

    `score` is the mean of the metrics that it was chosen by, `acc` and `auc` are those of the validation split, nan
    where undefined.
    """

    probabilities: Probabilities
    penalty: float
    score: float
    acc: float
    auc: float


def fit_head(dataset: Dataset, train: Labelled, val: Labelled, monitored: tuple[str, ...]) -> Head:
    """Fit a head to the training split for each of PENALTIES; return the one with the best validation score.

    The score is the mean of those of the `monitored` metrics (acc, auc) that are defined, else ACC. Of equal ones the
    head with the smaller weights is taken. Grades are right where they are exact, as in the test: how far off a grade
    may be belongs to the recipe of the datasets that are trained on.
    """
    mean, deviation = train.features.mean(axis=0, dtype=np.float64), train.features.std(axis=0, dtype=np.float64)
    deviation[deviation == 0] = 1.0

    def standard(features: np.ndarray) -> np.ndarray:
        return (features - mean) / deviation

    known, best = standard(train.features), None
    for penalty in PENALTIES:
        fitted = _fit(dataset, known, train.labels, penalty)

        def probabilities(features: np.ndarray, fitted: Probabilities = fitted) -> np.ndarray:
            return fitted(standard(features)).astype(np.float32)

        scores = probabilities(val.features)
        values = {
            "acc": metrics.accuracy(dataset, val.labels, scores),
            "auc": metrics.auc(dataset, val.labels, scores),
        }
        score = float(mean_of_defined([values[metric] for metric in monitored]))
        score = values["acc"] if math.isnan(score) else score
        if best is None or score > best.score:
            best = Head(probabilities, penalty, score, **values)
    return present(best)


def _fit(dataset: Dataset, features: np.ndarray, labels: np.ndarray, penalty: float) -> Probabilities:
    """Return a multinomial regression's probabilities [N, C]; for several labels one regression each."""
    if not dataset.multi_label:
        return _regression(features, labels[:, 0], dataset.num_classes, penalty)
    each = [_regression(features, column, 2, penalty) for column in labels.T]
    return lambda unseen: np.stack([yes_no(unseen)[:, 1] for yes_no in each], axis=1)


def _regression(features: np.ndarray, labels: np.ndarray, classes: int, penalty: float) -> Probabilities:
    """Fit classes 0 to `classes` - 1; one that no case has gets probability 0."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    # A single class leaves nothing to fit.
    model = LogisticRegression(C=penalty, max_iter=ITERATIONS) if len(present) > 1 else None
    if model:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features, labels)

    def probabilities(unseen: np.ndarray) -> np.ndarray:
        scores = np.zeros((len(unseen), classes))
        scores[:, present] = model.predict_proba(unseen) if model else 1.0
        return scores

    return probabilities
