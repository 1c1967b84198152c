"""What was looked at in several trainings of a variant, as one: whose seeds, and means over them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mosaic_pipeline.reporting.records import Analysis
from mosaic_pipeline.reporting.wording import listing, plural


def seed_list(seeds: Sequence[int]) -> str:
    """(42,) -> 'seed 42', (1, 2) -> 'seeds 1 and 2'."""
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {listing([str(seed) for seed in seeds])}"


def analysed_cases(analyses: Sequence[Analysis]) -> str:
    """What analyses of one variant looked at, for captions; several are shown by their mean."""
    seeds = seed_list([analysis.seed for analysis in analyses])
    mean = "" if len(analyses) == 1 else "mean over "
    return f"{mean}{seeds}, up to {plural(analyses[0].cases, 'validation image')} of each dataset"


def on_average(trainings: int) -> str:
    """How a sentence begins that tells what was seen: 'In this one training' or 'On average over 3 trainings'."""
    return "In this one training" if trainings == 1 else f"On average over {trainings} trainings"


def mean_of(trees: Sequence[Any]) -> Any:
    """Mean of like trees: of mappings by key, of lists of numbers by place; nan where one of them is None."""
    if isinstance(trees[0], Mapping):
        return {key: mean_of([tree[key] for tree in trees]) for key in trees[0]}
    return np.mean([np.array(tree, dtype=np.float64) for tree in trees], axis=0).tolist()
