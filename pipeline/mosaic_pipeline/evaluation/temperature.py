"""Temperature scaling: one factor on all logits (Guo et al., On Calibration of Modern Neural Networks, 2017).

It moves no prediction, only how sure the model says it is, and is chosen on validation cases.
"""

import numpy as np

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.evaluation.metrics import SMALLEST

BOUNDS = (0.05, 20.0)


def choose_temperature(dataset: Dataset, labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the T within BOUNDS at which labels int64 [N, L] are likeliest under scores float [N, C].

    The likelihood has one peak in log T. Where that is not within BOUNDS, T is the bound next to it: the lower one if
    every answer is right, be it that all are of one class, or if scores hardly differ; the upper one if answers are no
    better than chance. nan when a score is nan.
    """
    # Not at the top: with scipy.optimize a third of a second at every start of the report, which needs the bounds only.
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logits = _logits(dataset, scores)
    if np.isnan(logits).any():
        return float("nan")

    def loss(temperature: float) -> float:
        """Negative log-likelihood, unlike the metric without a smallest probability, which would hide the slope."""
        z = logits / temperature
        if dataset.multi_label:
            return np.logaddexp(0, np.where(labels == 1, -z, z)).mean()
        return (logsumexp(z, axis=1) - np.take_along_axis(z, labels, axis=1)[:, 0]).mean()

    low, high = np.log(BOUNDS)
    found = minimize_scalar(lambda log: loss(np.exp(log)), bounds=(low, high), method="bounded")
    return float(min((1.0, *BOUNDS, np.exp(found.x)), key=loss))


def at_temperature(dataset: Dataset, scores: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities float64 [N, C] of the same logits divided by `temperature`."""
    from scipy.special import expit, softmax

    z = _logits(dataset, scores) / temperature
    return expit(z) if dataset.multi_label else softmax(z, axis=1)


def _logits(dataset: Dataset, scores: np.ndarray) -> np.ndarray:
    """Logits float64 [N, C] that give the scores, those of softmax up to a constant that cancels."""
    p = np.clip(scores.astype(np.float64), SMALLEST, 1 - SMALLEST)
    return np.log(p) - np.log1p(-p) if dataset.multi_label else np.log(p)
