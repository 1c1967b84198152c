"""Whether variants differ in how well they segment. The unit is the patient, never the scan, the slice or the organ.

As in classification, with the same words: a number comes from one training that answered one set of patients, so that a
claim about methods needs several trainings of each. What other patients would make of it is drawn: patients of each
dataset with replacement, each with all scans, the same ones for every variant and every training. A difference also has
to hold over patients by the exact signed-rank test, in the same direction, whence fewer than six patients that differ
can never say yes. Both are adjusted over the variants by Holm.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.evaluation.inference import Estimate, contrast
from mosaic_pipeline.evaluation.significance import holm, rank_direction, signed_rank
from mosaic_pipeline.evaluation.verdict import DIGITS, Verdict, least_signed_rank, verdict
from mosaic_pipeline.segmentation.evaluation.metrics import Record

RESAMPLES = 2000
TAIL = 2.5  # percent

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """A metric of all trainings by dataset: [V,S,N,K] of V variants, S seeds, N cases, K organs; nan if undefined.

    `patients` says of each dataset whose case each is [N].
    """

    metric: str
    variants: tuple[str, ...]
    values: dict[str, Values]
    patients: dict[str, tuple[str, ...]]

    def of(self, variant: str, dataset: str) -> Values:
        """Return what one variant's trainings have on one dataset [S,N,K]."""
        return self.values[dataset][self.variants.index(variant)]


@dataclass(frozen=True)
class Comparison:
    """Other minus main over one or several datasets; of HD95 a positive difference is a loss.

    `estimate` is over trainings and patients; `p` is its own and `rank_p` the signed-rank test's over patients, both
    adjusted over the other variants. `over_patients` is the bootstrap's 95 % interval of the difference of the
    trainings at hand, which says nothing about others. `wins` and `losses` count patients in whom the other's value is
    higher or lower.
    """

    metric: str
    main: str
    other: str
    datasets: tuple[str, ...]
    estimate: Estimate
    over_patients: tuple[float, float] | None
    p: float
    rank_p: float
    least_p: float
    direction: int
    patients: int
    wins: int
    losses: int

    @property
    def verdict(self) -> Verdict:
        """What the difference is called."""
        return verdict(self.estimate, p=self.p, rank_p=self.rank_p, direction=self.direction, least_p=self.least_p)


def collect(evaluations: Mapping[tuple[str, int], Mapping[str, Sequence[Record]]], metric: str) -> Scores:
    """Return a metric of all trainings from their cases: (variant, seed) -> dataset -> records of `case_record`.

    Raises ValueError unless all trainings answer the same cases of the same patients, and organs, and all variants have
    the same seeds.
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
    patients = {name: tuple(case["patient"] for case in cases) for name, cases in first.items()}
    return Scores(metric, variants, values, patients)


def resample_cases(dataset: str, patients: Sequence[str], resamples: int = RESAMPLES) -> NDArray[np.int64]:
    """Return how often each of N cases is drawn [R,N] if as many patients as there are are drawn with replacement.

    `patients` says whose each case is [N]; all cases of a patient are drawn together. The same for whoever asks.
    """
    place = _places(patients)
    of = place.max() + 1
    key = hashlib.sha256(repr(("resample_cases", dataset, int(of))).encode()).digest()
    generator = np.random.default_rng(int.from_bytes(key[:8], "big"))
    counts = generator.multinomial(of, np.full(of, 1 / of), size=resamples)
    return np.take(counts, place, axis=1)  # by rows, as drawn: sums over columns would round otherwise


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


def patient_means(values: Values, patients: Sequence[str]) -> Values:
    """Return the mean of each patient, in order of the first case, over cases [N] that have a value; nan if none."""
    place = _places(patients)
    return np.array([_mean(values[place == each]) for each in range(place.max() + 1)])


def mean_estimate(scores: Scores, variant: str, datasets: Sequence[str]) -> Estimate:
    """Estimate the mean of a variant over datasets, over trainings and patients."""
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
            over_patients=_percentiles(_replicates(scores, other, datasets) - _replicates(scores, main, datasets)),
            p=p[place],
            rank_p=rank_p[place],
            least_p=least[place],
            direction=rank_direction(differences[place]),
            patients=len(differences[place]),
            wins=int(np.sum(differences[place] > 0)),
            losses=int(np.sum(differences[place] < 0)),
        )
    return found


def _estimate(scores: Scores, variants: Sequence[str], weights: Sequence[float], datasets: Sequence[str]) -> Estimate:
    """Estimate a weighted sum of variants' means over datasets; what patients do is their covariance over draws."""
    means, covariances = [], []
    for name in datasets:
        values = np.stack([scores.of(variant, name) for variant in variants])
        patients = len(set(scores.patients[name]))
        drawn = dataset_mean(values, resample_cases(name, scores.patients[name])).reshape(-1, RESAMPLES)
        kept = drawn[:, ~np.isnan(drawn).any(axis=0)]
        means.append(dataset_mean(values))
        # Drawing N of N patients makes a variance that is too small by 1 / N; of one patient nothing is known.
        known = patients > 1 and kept.shape[1] > 1
        scale = patients / (patients - 1) if known else 0.0
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
        drawn.append(dataset_mean(values, resample_cases(name, scores.patients[name])).mean(axis=0))
    return np.mean(drawn, axis=0)


def _differences(scores: Scores, main: str, other: str, datasets: Sequence[str]) -> Values:
    """Return other minus main of every patient with a case that has a value for both, equal ones to the last bit."""
    apart = [
        patient_means(case_means(scores.of(other, name)) - case_means(scores.of(main, name)), scores.patients[name])
        for name in datasets
    ]
    found = np.concatenate(apart).round(DIGITS)
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


def _places(patients: Sequence[str]) -> NDArray[np.int64]:
    """Number the patient of each case, in order of first cases."""
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(patients))}
    return np.array([numbers[patient] for patient in patients])


def _names(case: Record) -> tuple[str, str, list[str]]:
    return case["case"], case["patient"], [record["organ"] for record in case["organs"]]


def _row(case: Record, metric: str) -> list[float]:
    return [np.nan if record[metric] is None else record[metric] for record in case["organs"]]
