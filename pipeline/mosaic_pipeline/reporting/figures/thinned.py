"""A line with so many points as can be told apart."""

import numpy as np

POINTS = 400  # of a line; a figure is some 300 px wide


def thinned(x: np.ndarray, y: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Return a line [N] as at most `points` of its own points; all where it has no more.

    Of each of as many stretches alike it keeps the lowest and the highest point, so that no peak is lost, and the first
    and the last one of all.
    """
    if len(y) <= points:
        return x, y
    places = {0, len(y) - 1}
    for stretch in np.array_split(np.arange(len(y)), (points - 2) // 2):
        known = stretch[np.isfinite(y[stretch])]
        ends = (known[np.argmin(y[known])], known[np.argmax(y[known])]) if len(known) else stretch[:1]
        places |= {int(place) for place in ends}
    kept = sorted(places)
    return x[kept], y[kept]
