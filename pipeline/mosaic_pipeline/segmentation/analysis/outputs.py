"""The file of the stage `seg_analyse`."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from mosaic_pipeline.analysis.outputs import plain
from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.layout import segmentation_analysis

ANALYSES = ("counterfactual", "gates", "maps", "similarity", "conflicts")


def write_analyses(head: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Write the file of a variant and seed: `head` (variant, seed, cases) and every analysis, null without a result."""
    tree = dict(head) | {name: plain(results.get(name)) for name in ANALYSES}
    # A line an analysis: indented, a map would have a line for every pixel.
    lines = (f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in tree.items())
    write_text(segmentation_analysis(head["variant"], head["seed"]), "{\n" + ",\n".join(lines) + "\n}\n")


def summarise(name: str, result: Any) -> dict[str, float]:
    """Return what sums up an analysis, by name; none where there is no result.

    counterfactual: mean DSC with the own expert and with others. gates: mean entropy. similarity: the mean CKA of
    different experts. conflicts: the mean cosine of different datasets.
    """
    if result is None or name not in _OF:
        return {}
    defined = ((key, [value for value in values if not math.isnan(value)]) for key, values in _OF[name](result))
    return {key: fmean(values) for key, values in defined if values}


def _counterfactual(result: Mapping[str, Any]) -> Iterable[tuple[str, list[float]]]:
    own: list[float] = []
    others: list[float] = []
    for mine, row in zip(result["own"], result["dsc"], strict=True):
        for expert, dsc in zip(result["experts"], row, strict=True):
            (own if expert == mine else others).append(dsc)
    return [("own_dsc", own), ("other_dsc", others)]


def _gates(result: Mapping[str, Any]) -> Iterable[tuple[str, list[float]]]:
    return [("entropy", [value for each in result["datasets"].values() for value in each["entropy"]])]


def _similarity(result: Mapping[str, Any]) -> Iterable[tuple[str, list[float]]]:
    return [("cka", [value for layer in result["cka"] for value in _below(layer)])]


def _conflicts(result: Mapping[str, Any]) -> Iterable[tuple[str, list[float]]]:
    return [("cosine", _below(result["cosine"]))]


def _below(matrix: Sequence[Sequence[float]]) -> list[float]:
    return [value for row, values in enumerate(matrix) for value in values[:row]]


_OF = {"counterfactual": _counterfactual, "gates": _gates, "similarity": _similarity, "conflicts": _conflicts}
