"""The classes that probabilities come to: one, or of several labels those that are there."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DECIDED = 0.5  # from which probability on a label is said to be there, where an image may have several


def decide(probabilities: NDArray[np.float32], names: Sequence[str], multi_label: bool) -> list[str]:
    """Return the names of the classes that an image has by its probabilities [C]: the likeliest, or any number."""
    if multi_label:
        return [name for name, value in zip(names, probabilities, strict=True) if value >= DECIDED]
    return [names[int(probabilities.argmax())]]
