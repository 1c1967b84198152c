"""Learning rate: linear warm-up, then cosine to zero (paper, section 3)."""

import math


def learning_rate(step: int, *, peak: float, warmup_steps: float, total_steps: int) -> float:
    """Return the learning rate of step 0, 1, ...; the last step of the warm-up runs at `peak`.

    Both parts advance with every step, not every round: a warm-up by rounds would run all of round 1 at almost zero.
    """
    if step + 1 <= warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step + 1 - warmup_steps) / (total_steps + 1 - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def learning_rate_by_round(number: int, *, peak: float, warmup_rounds: float, num_rounds: int) -> float:
    """Return the learning rate of round 0, 1, ... of the public code, constant within a round.

    Its warm-up climbs from 1 % to all of `peak` over `warmup_rounds`, so that with one of them the whole first round
    runs at 1 %; the cosine after it ends at zero.
    """
    if number < warmup_rounds:
        return peak * (0.01 + 0.99 * number / warmup_rounds)
    return peak * 0.5 * (1 + math.cos(math.pi * (number - warmup_rounds) / (num_rounds - warmup_rounds)))
