"""Whether variants differ in how well they segment. The unit is the patient's case, never the slice, never the organ.

As in classification, with the same words: a number comes from one training that answered one set of cases, so that a
claim about methods needs several trainings of each. What other cases would make of it is drawn: cases of each dataset
with replacement, the same ones for every variant and every training. A difference also has to hold over cases by the
exact signed-rank test, in the same direction, whence fewer than six cases that differ can never say yes. Both are
adjusted over the variants by Holm.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.inference import Estimate, contrast
from pipeline.evaluation.significance import holm, rank_direction, signed_rank
from pipeline.evaluation.verdict import DIGITS, Verdict, least_signed_rank, verdict
from pipeline.segmentation.evaluation.metrics import Record

RESAMPLES = 2000
TAIL = 2.5  # percent

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """A metric of all trainings by dataset: [V,S,N,K] of V variants, S seeds, N cases, K organs; nan if undefined."""

    metric: str
    variants: tuple[str, ...]
    values: dict[str, Values]

    def of(self, variant: str, dataset: str) -> Values:
        """Return what one variant's trainings have on one dataset [S,N,K]."""
        return self.values[dataset][self.variants.index(variant)]


@dataclass(frozen=True)
class Comparison:
    """Other minus main over one or several datasets; of HD95 a positive difference is a loss.

    `estimate` is over trainings and cases; `p` is its own and `rank_p` the signed-rank test's over cases, both adjusted
    over the other variants. `over_cases` is the bootstrap's 95 % interval of the difference of the trainings at hand,
    which says nothing about others. `wins` and `losses` count cases in which the other's value is higher or lower.
    """

    metric: str
    main: str
    other: str
    datasets: tuple[str, ...]
    estimate: Estimate
    over_cases: tuple[float, float] | None
    p: float
    rank_p: float
    least_p: float
    direction: int
    cases: int
    wins: int
    losses: int

    @property
    def verdict(self) -> Verdict:
        """What the difference is called."""
        values = {"p": self.p, "rank_p": self.rank_p, "direction": self.direction, "least_p": self.least_p}
        return verdict(self.estimate, **values)


def collect(evaluations: Mapping[tuple[str, int], Mapping[str, Sequence[Record]]], metric: str) -> Scores:
    """Return a metric of all trainings from their cases: (variant, seed) -> dataset -> records of `case_record`.

    Raises ValueError unless all trainings answer the same cases and organs, and all variants have the same seeds.
    """
    variants = tuple(dict.fromkeys(variant for variant, _ in evaluations))
    seeds = tuple(dict.fromkeys(seed for _, seed in evaluations))
    if missing := [(variant, seed) for variant in variants for seed in seeds if (variant, seed) not in evaluations]:
        raise ValueError(f"no evaluation of {missing[0][0]}, seed {missing[0][1]}")
    first = evaluations[variants[0], seeds[0]]
    expected = {name: [_names(case) for case in cases] for name, cases in first.items()}
    for (variant, seed), evaluation in evaluations.items():
        for name in dict.fromkeys([*expected, *evaluation]):
            if [_names(case) for case in evaluation.get(name, ())] != expected.get(name):
                raise ValueError(f"{name}: {variant}, seed {seed}, was tested on other cases than {variants[0]}")
    values = {
        name: np.array(
            [[[_row(case, metric) for case in evaluations[v, seed][name]] for seed in seeds] for v in variants],
            dtype=np.float64,
        )
        for name in expected
    }
    return Scores(metric, variants, values)


def resample_cases(dataset: str, cases: int, resamples: int = RESAMPLES) -> NDArray[np.int64]:
    """Return how often each case is drawn [R,N] if N of N are drawn with replacement; the same for whoever asks."""
    key = hashlib.sha256(repr(("resample_cases", dataset, cases)).encode()).digest()
    generator = np.random.default_rng(int.from_bytes(key[:8], "big"))
    return generator.multinomial(cases, np.full(cases, 1 / cases), size=resamples)


def dataset_mean(values: Values, counts: NDArray[np.int64] | None = None) -> Values:
    """Return the mean over organs of means over cases, of values [...,N,K]; for `counts` [R,N] of cases, [...,R].

    nan where nothing is defined.
    """
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)
    weights = np.ones((1, values.shape[-2])) if counts is None else counts.astype(np.float64)
    drawn = weights @ defined
    means = np.divide(weights @ filled, drawn, where=drawn > 0, out=np.full(drawn.shape, np.nan))
    found = _mean(means)
    return found[..., 0] if counts is None else found


def case_means(values: Values) -> Values:
    """Return the mean of each case [N] over organs, then trainings, of values [S,N,K]; nan if one training has none."""
    return _mean(values).mean(axis=0)


def mean_estimate(scores: Scores, variant: str, datasets: Sequence[str]) -> Estimate:
    """Estimate the mean of a variant over datasets, over trainings and cases."""
    return _estimate(scores, (variant,), (1.0,), datasets)


def compare(scores: Scores, main: str, datasets: Sequence[str]) -> dict[str, Comparison]:
    """Compare every other variant with the main one over these datasets, by name."""
    others = [variant for variant in scores.variants if variant != main]
    datasets = tuple(datasets)
    estimates = [_estimate(scores, (main, other), (-1.0, 1.0), datasets) for other in others]
    differences = [_differences(scores, main, other, datasets) for other in others]
    ranks = [signed_rank(each) for each in differences]
    p, rank_p = holm([each.p for each in estimates]), holm(ranks)
    found = {}
    for place, other in enumerate(others):
        least = holm([*ranks[:place], least_signed_rank(differences[place]), *ranks[place + 1 :]])
        found[other] = Comparison(
            metric=scores.metric,
            main=main,
            other=other,
            datasets=datasets,
            estimate=estimates[place],
            over_cases=_percentiles(_replicates(scores, other, datasets) - _replicates(scores, main, datasets)),
            p=p[place],
            rank_p=rank_p[place],
            least_p=least[place],
            direction=rank_direction(differences[place]),
            cases=len(differences[place]),
            wins=int(np.sum(differences[place] > 0)),
            losses=int(np.sum(differences[place] < 0)),
        )
    return found


def _estimate(scores: Scores, variants: Sequence[str], weights: Sequence[float], datasets: Sequence[str]) -> Estimate:
    """Estimate a weighted sum of variants' means over datasets; what cases do is their covariance over resamples."""
    means, covariances = [], []
    for name in datasets:
        values = np.stack([scores.of(variant, name) for variant in variants])
        cases = values.shape[2]
        drawn = dataset_mean(values, resample_cases(name, cases)).reshape(-1, RESAMPLES)
        kept = drawn[:, ~np.isnan(drawn).any(axis=0)]
        means.append(dataset_mean(values))
        # Drawing N of N cases makes a variance that is too small by 1 / N; of one case nothing is known.
        known = cases > 1 and kept.shape[1] > 1
        scale = cases / (cases - 1) if known else 0.0
        size = len(drawn)
        covariances.append(scale * np.cov(kept).reshape(size, size) if known else np.full((size, size), np.nan))
    values = np.mean(means, axis=0)
    covariance = np.sum(covariances, axis=0) / len(datasets) ** 2
    return contrast(values, covariance.reshape(*values.shape, *values.shape), weights)


def _replicates(scores: Scores, variant: str, datasets: Sequence[str]) -> Values:
    """Return the mean over datasets and trainings in each resample [R]."""
    drawn = []
    for name in datasets:
        values = scores.of(variant, name)
        drawn.append(dataset_mean(values, resample_cases(name, values.shape[1])).mean(axis=0))
    return np.mean(drawn, axis=0)


def _differences(scores: Scores, main: str, other: str, datasets: Sequence[str]) -> Values:
    """Return other minus main of every case that has a value for both, equal ones to the last bit."""
    apart = [case_means(scores.of(other, name)) - case_means(scores.of(main, name)) for name in datasets]
    found = np.round(np.concatenate(apart), DIGITS)
    return found[~np.isnan(found)]


def _percentiles(replicates: Values) -> tuple[float, float] | None:
    """Return the 95 % interval of resamples in which the value is defined; None where nothing varies."""
    kept = replicates[~np.isnan(replicates)]
    if not len(kept) or kept.min() == kept.max():
        return None
    low, high = np.percentile(kept, (TAIL, 100 - TAIL))
    return float(low), float(high)


def _mean(values: Values) -> Values:
    """Return the mean along the last axis of what is defined; nan where nothing is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    return np.divide(total, count, where=count > 0, out=np.full(count.shape, np.nan))


def _names(case: Record) -> tuple[str, list[str]]:
    return case["case"], [record["organ"] for record in case["organs"]]


def _row(case: Record, metric: str) -> list[float]:
    return [np.nan if record[metric] is None else record[metric] for record in case["organs"]]
