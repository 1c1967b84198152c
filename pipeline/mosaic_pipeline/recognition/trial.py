"""How well datasets are told: what the test cases of each are proposed to be, also where their own is no candidate."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.recognition.moments import Moments
from mosaic_pipeline.recognition.recogniser import Candidates, Proposal, fit_candidates


@dataclass(frozen=True)
class Seen:
    """What the backbone saw in a dataset: moments of training cases, features [N, D] of validation and test cases."""

    moments: Moments
    validation: NDArray[np.float32]
    test: NDArray[np.float32]


def fit(seen: Mapping[str, Seen]) -> Candidates:
    """Fit datasets of one dimension; no test case has a part in it."""
    moments = {name: each.moments for name, each in seen.items()}
    return fit_candidates(moments, {name: each.validation for name, each in seen.items()})


def records(seen: Mapping[str, Seen]) -> dict[str, dict[str, Any]]:
    """Return of each dataset of one dimension how many test cases are proposed to be of which, and how many of none.

    `held_out` is the same among the other datasets alone, fitted without it: what cases of a dataset that nobody knows
    come to. None where there is no other.
    """
    candidates = fit(seen)
    return {
        name: {"n": len(each.test)}
        | tally(candidates.propose(each.test))
        | {"held_out": _held_out(each, {other: of_other for other, of_other in seen.items() if other != name})}
        for name, each in seen.items()
    }


def _held_out(seen: Seen, others: Mapping[str, Seen]) -> dict[str, Any] | None:
    return tally(fit(others).propose(seen.test)) if others else None


def tally(proposals: Iterable[Proposal]) -> dict[str, Any]:
    """Count proposals: `proposed` by dataset, and `none`."""
    found = Counter(each.dataset for each in proposals)
    return {
        "proposed": {name: found[name] for name in sorted(name for name in found if name)},
        "none": found[None],
    }


def shares(tallies: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the mean shares of test cases over datasets: rightly proposed, none, and none where held out.

    The last one is None where no dataset could be held out.
    """
    held_out = [each["held_out"]["none"] / each["n"] for each in tallies.values() if each["held_out"]]
    return {
        "right": fmean(each["proposed"].get(name, 0) / each["n"] for name, each in tallies.items()),
        "none": fmean(each["none"] / each["n"] for each in tallies.values()),
        "none_held_out": fmean(held_out) if held_out else None,
    }
