"""In which order a round trains the datasets: one name for each optimiser step."""

from collections.abc import Mapping

import numpy as np
import torch

from mosaic_pipeline.present import present
from mosaic_pipeline.streams import stream


def steps_of_round(
    order: str, tau: float | None, images: Mapping[str, int], epochs: Mapping[str, int]
) -> dict[str, int]:
    """Return how many steps a round takes on each dataset: a full epoch, unless the order is `balanced`.

    `images` are the datasets' sizes n and `epochs` the steps of one epoch. `balanced` deals out as many steps in all in
    proportion to n^tau, at least one each, by largest remainders.
    """
    if order != "balanced":
        return dict(epochs)
    weights = np.array([images[name] for name in epochs], dtype=np.float64) ** present(tau)
    spare = sum(epochs.values()) - len(epochs)
    shares = weights / weights.sum() * spare
    steps = np.floor(shares).astype(int)
    # The largest remainders first; of equal ones, the first in the order of the datasets.
    for index in np.argsort(steps - shares, kind="stable")[: spare - steps.sum()]:
        steps[index] += 1
    return {name: 1 + int(more) for name, more in zip(epochs, steps, strict=True)}


def plan_round(order: str, steps: Mapping[str, int], seed: int, number: int) -> list[str]:
    """Return the dataset of each step of round 0, 1, ...: one after another, or shuffled if `interleaved`."""
    plan = [name for name, count in steps.items() for _ in range(count)]
    if order != "interleaved":
        return plan
    return [plan[index] for index in torch.randperm(len(plan), generator=stream(seed, "order", number)).tolist()]
