"""Arithmetic with quantities that some classes do not have; nan stands for them."""

import numpy as np
from numpy.typing import ArrayLike


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, nan for 0 / 0."""
    with np.errstate(invalid="ignore"):
        return part / whole


def mean_of_defined(values: ArrayLike, axis: int = 0) -> np.ndarray:
    """Return the mean over an axis of the values that are not nan; nan where there is none."""
    values = np.asarray(values)
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=axis), defined.sum(axis=axis))
