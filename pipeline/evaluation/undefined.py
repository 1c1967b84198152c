"""Arithmetic with quantities that some classes do not have; nan stands for them."""

import numpy as np


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, nan for 0 / 0."""
    with np.errstate(invalid="ignore"):
        return part / whole


def mean_of_defined(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean over an axis of the values that are not nan; nan where there is none."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=axis), defined.sum(axis=axis))
