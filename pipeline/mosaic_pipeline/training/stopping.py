"""Early stopping on the validation score."""

import math
from dataclasses import dataclass

# The measures whose mean is the validation score, by `train.monitor`.
MONITORED = {"acc": ("acc",), "auc": ("auc",), "acc_auc": ("acc", "auc")}


@dataclass
class EarlyStopping:
    """Counts rounds since the score last beat the best by more than `min_delta`."""

    patience: int
    min_delta: float
    best: float = -math.inf
    waited: int = 0

    def improved(self, score: float) -> bool:
        """Take a round's score and say whether it counts as an improvement; nan never does."""
        if score > self.best + self.min_delta:
            self.best, self.waited = score, 0
            return True
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether `patience` rounds went by without an improvement."""
        return self.waited >= self.patience
