"""A few test cases of each dataset as pictures, for the report."""

import numpy as np

from mosaic_pipeline.datasets import Dataset

SAMPLES = 4
# Cases looked at: enough to meet the classes of any dataset, whatever its size.
CANDIDATES = 500


def choose_samples(labels: np.ndarray) -> np.ndarray:
    """Return up to SAMPLES rows of labels [N, L] to show: the first case of each class in turn, then second ones.

    Depends on the truth alone, so that every variant shows the same cases and none shows its best.
    """
    _, classes = np.unique(labels[:CANDIDATES], axis=0, return_inverse=True)
    classes = classes.ravel()
    earlier_of_class = np.array([np.sum(classes[:row] == classes[row]) for row in range(len(classes))])
    return np.sort(np.lexsort((classes, earlier_of_class))[:SAMPLES])


def choose_hardest(losses: np.ndarray) -> np.ndarray:
    """Return up to SAMPLES rows with the highest of losses [N], hardest first; the earlier of equal ones first.

    A loss that is nan is above all others.
    """
    return np.argsort(-np.nan_to_num(losses, nan=np.inf), kind="stable")[:SAMPLES]


def as_picture(image: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Return uint8 [H, W] or [H, W, 3]; a volume as its three middle slices side by side, [S, 3 S]."""
    if dataset.dimension == 2:
        return np.asarray(image)
    middle = image.shape[0] // 2
    return np.concatenate([image[middle], image[:, middle], image[:, :, middle]], axis=1)
