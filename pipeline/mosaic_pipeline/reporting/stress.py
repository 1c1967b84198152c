"""The results of corrupted test images, in the form of all results: what compares variants compares them here too."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mosaic_pipeline.reporting.outside import CorruptedResult
from mosaic_pipeline.reporting.records import DatasetResult
from mosaic_pipeline.reporting.results import METRICS, Results

# Metric of a dataset and contributions [N] of its cases, one training's.
Scored = tuple[float | None, np.ndarray]


def corrupted(results: Results, kinds: Sequence[str], strengths: Sequence[int]) -> Results:
    """Return the results with ACC and AUC of corrupted images in the place of the clean ones', and no other metric.

    Each is the mean over these kinds and strengths (from 1), undefined if one of them is.
    """
    return _with(
        results, lambda variant, seed, name, metric: _mean(results, (variant, seed, name), metric, kinds, strengths)
    )


def kept(results: Results, kinds: Sequence[str], strengths: Sequence[int]) -> Results:
    """Return the results with the share of its clean ACC and AUC that a training keeps on corrupted images, by dataset.

    One minus the share is the relative drop. Contributions are those of a ratio, linear in what each case adds to
    either metric, so that their covariance is the share's over other cases (the delta method).
    """

    def share(variant: str, seed: int, name: str, metric: str) -> Scored:
        clean, column = results.runs[variant, seed], METRICS.index(metric)
        before, cases = getattr(clean.results[name], metric), clean.contributions[name][:, column].astype(np.float64)
        after, changed = _mean(results, (variant, seed, name), metric, kinds, strengths)
        if not before or after is None:
            return None, np.full(len(cases), np.nan)
        return after / before, after / before + (changed - after) / before - after * (cases - before) / before**2

    return _with(results, share)


def _mean(
    results: Results, test: tuple[str, int, str], metric: str, kinds: Sequence[str], strengths: Sequence[int]
) -> Scored:
    """ACC or AUC of one training on one dataset, mean over kinds and strengths."""
    variant, seed, name = test
    values, cases = [], []
    for kind in kinds:
        found = results.corrupted[kind][variant, seed]
        result: CorruptedResult = found.results[name]
        values += [getattr(result, metric)[strength - 1] for strength in strengths]
        places = [strength - 1 for strength in strengths]
        cases.append(found.contributions[name][places, :, METRICS.index(metric)].astype(np.float64))
    mean = None if None in values else float(np.mean(values))
    return mean, np.concatenate(cases).mean(axis=0)


def _with(results: Results, score: Callable[[str, int, str, str], Scored]) -> Results:
    """Return the results with other values of METRICS, and their contributions, for every training and dataset."""
    runs = {}
    for (variant, seed), run in results.runs.items():
        tested, contributions = {}, {}
        for name, result in run.results.items():
            values, columns = zip(*(score(variant, seed, name, metric) for metric in METRICS), strict=True)
            tested[name] = tested_as(result, values)
            contributions[name] = np.stack(columns, axis=1)
        runs[variant, seed] = replace(run, results=tested, contributions=contributions)
    return replace(results, runs=runs)


def tested_as(result: DatasetResult, values: Sequence[float | None]) -> DatasetResult:
    """Return a result of the same cases with these METRICS and no others."""
    fields: dict[str, Any] = {"n": result.n, "data": result.data} | dict(zip(METRICS, values, strict=True))
    return DatasetResult.model_construct(**fields)
