"""Each analysis in a few numbers, for the log and for MLflow."""

import math
from collections.abc import Iterable
from typing import Any

from mosaic_pipeline.evaluation.undefined import mean_of_defined


def summarise(name: str, result: dict[str, Any] | None) -> dict[str, float]:
    """Return the scalars that sum up a result of the analysis `name`, by name; none where there is no result.

    counterfactual: mean ACC with the own specialist and with the others, and the share of datasets that no other one
    serves better. similarity: the mean CKA of different specialists. branch_ratio: the mean. gate: the mean entropy in
    nats.
    """
    return {} if result is None else {key: float(value) for key, value in _OF[name](result) if not math.isnan(value)}


def _counterfactual(result: dict[str, Any]) -> Iterable[tuple[str, float]]:
    own, others, best = [], [], []
    for name, acc in result["acc"].items():
        index = result["specialists"].index(result["own"][name])
        own.append(acc[index])
        others.append(mean_of_defined(acc[:index] + acc[index + 1 :]))
        best.append(float(acc[index] == max(acc)))
    return [
        ("own_acc", float(mean_of_defined(own))),
        ("other_acc", float(mean_of_defined(others))),
        ("own_best", float(mean_of_defined(best))),
    ]


def _similarity(result: dict[str, Any]) -> Iterable[tuple[str, float]]:
    pairs = [value for layer in result["layers"] for row, values in enumerate(layer) for value in values[:row]]
    return [("cka", float(mean_of_defined(pairs)))]


def _branch_ratio(result: dict[str, Any]) -> Iterable[tuple[str, float]]:
    return [("mean", float(mean_of_defined([value for layers in result.values() for value in layers])))]


def _gate(result: dict[str, Any]) -> Iterable[tuple[str, float]]:
    return [("entropy", float(mean_of_defined([value for layers in result["entropy"].values() for value in layers])))]


_OF = {
    "counterfactual": _counterfactual,
    "similarity": _similarity,
    "branch_ratio": _branch_ratio,
    "gate": _gate,
}
