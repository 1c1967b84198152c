"""Learning rate by optimiser step: linear warm-up, then cosine to zero (paper, section 3)."""

import math


def learning_rate(step: int, *, peak: float, warmup_steps: float, total_steps: int) -> float:
    """Return the learning rate of step 0, 1, ...; the last step of the warm-up runs at `peak`.

    Both parts advance with every step, not every round: a warm-up by rounds would run all of round 1 at almost zero.
    """
    if step + 1 <= warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step + 1 - warmup_steps) / (total_steps + 1 - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
