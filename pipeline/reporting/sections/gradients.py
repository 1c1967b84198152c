"""Section: whether datasets of one group pull a shared specialist the same way, and other groups another."""

from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np

from pipeline.datasets import DATASETS
from pipeline.reporting.comparisons import ALPHA
from pipeline.reporting.heat import HeatCell, HeatMap, breaks, decimal, full_scale, tint
from pipeline.reporting.means import TIE
from pipeline.reporting.records import Gradients
from pipeline.reporting.results import Results
from pipeline.reporting.table import NONE, Cell, Table
from pipeline.reporting.wording import MINUS, p_value

PERMUTATIONS = 2000


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section: (variant, sentences, group means, map) for each variant with a shared specialist."""
    parts = []
    for index, (variant, analysis) in enumerate(results.analyses.items()):
        found = analysis.gradients
        if found and len(found.datasets) > 1:
            parts.append(
                (
                    variant,
                    [partition_sentence(found), noise_sentence(found)],
                    groups_table(found, index),
                    cosine_map(results, variant, found, index),
                )
            )
    return {"parts": parts} if parts else None


def pairs_by_group(found: Gradients) -> dict[tuple[str, str], list[float]]:
    """Cosines of all pairs of different datasets, by the groups of the two in order."""
    pairs: dict[tuple[str, str], list[float]] = {}
    for row, first in enumerate(found.datasets):
        for column in range(row):
            value = found.cosine[row][column]
            if value is not None:
                key = tuple(sorted((DATASETS[first].specialist, DATASETS[found.datasets[column]].specialist)))
                pairs.setdefault(key, []).append(value)
    return dict(sorted(pairs.items()))


def partition_sentence(found: Gradients) -> str:
    """Compare the mean cosine within groups with that between groups, and with groups drawn at random."""
    pairs = pairs_by_group(found)
    within = [value for (one, other), values in pairs.items() if one == other for value in values]
    between = [value for (one, other), values in pairs.items() if one != other for value in values]
    if not within or not between:
        return "There are no pairs of datasets both within a group and between groups, so the groups cannot be judged."
    means = f"mean cosine {_number(fmean(within))} within a group and {_number(fmean(between))} between groups"
    p = partition_p(found)
    drawn = f"two-sided permutation p {p_value(p)} among groups of these sizes drawn at random"
    if p >= ALPHA:
        return (
            f"Whether datasets of one group pull the shared specialist more alike cannot be told from chance: {means} "
            f"({drawn}). That the partition follows the conflicts is not shown."
        )
    if fmean(within) > fmean(between):
        return (
            f"Datasets of one group pull the shared specialist more alike: {means} ({drawn}). The partition follows "
            "the conflicts."
        )
    return (
        f"Datasets of one group pull the shared specialist less alike than datasets of different groups do: {means} "
        f"({drawn}). The partition sets together datasets that conflict more than others."
    )


def noise_sentence(found: Gradients) -> str:
    """Tell how alike two halves of the same cases are, with which other cosines are to be compared."""
    halves = [value for value in found.halves if value is not None]
    if not halves:
        return "How much of this is noise is unknown: no dataset has a gradient in both halves of its cases."
    # Spearman-Brown: what samples of twice the size would show of the same agreement.
    ceiling = fmean(2 * value / (1 + value) if value > 0 else 0.0 for value in halves)
    return (
        f"How much is noise: the gradients of two halves of one dataset's cases have a mean cosine of "
        f"{_number(fmean(halves))} ({_number(min(halves))} to {_number(max(halves))}, framed in the map). So two "
        f"datasets that pull exactly alike would reach about {_number(ceiling)} here, not 1."
    )


def partition_p(found: Gradients) -> float:
    """Share of random partitions into groups of the same sizes that set within and between as far apart (add-one).

    Two-sided: whichever of the two is above the other.
    """
    cosine = np.array(found.cosine, dtype=np.float64)  # None becomes nan
    groups = np.array([DATASETS[name].specialist for name in found.datasets])
    below = np.tri(len(groups), k=-1, dtype=bool)

    def gap(labels: np.ndarray) -> float:
        same = labels[:, None] == labels[None, :]
        return abs(float(np.nanmean(cosine[same & below]) - np.nanmean(cosine[~same & below])))

    generator, observed = np.random.default_rng(0), gap(groups)
    drawn = sum(gap(generator.permutation(groups)) >= observed - TIE for _ in range(PERMUTATIONS))
    return (1 + drawn) / (1 + PERMUTATIONS)


def groups_table(found: Gradients, index: int) -> Table:
    """Mean cosine of every pair of groups."""
    pairs = pairs_by_group(found)
    names = sorted({name for key in pairs for name in key})
    rows = []
    for one in names:
        values = [pairs.get(tuple(sorted((one, other)))) for other in names]
        rows.append([Cell(f"Group {one}"), *(Cell(_number(fmean(each)) if each else NONE) for each in values)])
    return Table(
        name=f"cosine-groups-{index}",
        caption="Mean cosine over pairs of different datasets, by their groups.",
        header=["", *(f"Group {name}" for name in names)],
        rows=rows,
    )


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-", MINUS)


def cosine_map(results: Results, variant: str, found: Gradients, index: int) -> HeatMap:
    """Rows and columns: datasets by group."""
    analysis = results.analyses[variant]
    names = [name for name in results.datasets if name in found.datasets]
    place = {name: found.datasets.index(name) for name in names}
    cosine = [[found.cosine[place[row]][place[column]] for column in names] for row in names]
    scale = full_scale([value for row, values in enumerate(cosine) for value in values[:row]])
    rows = []
    for row, (name, values) in enumerate(zip(names, cosine, strict=True)):
        values[row] = found.halves[place[name]]
        cells = [HeatCell(NONE if value is None else decimal(value), tint(value, scale)) for value in values]
        rows.append((DATASETS[name].title, cells))
        cells[row] = replace(cells[row], own=True)
    groups = breaks([DATASETS[name].specialist for name in names])
    return HeatMap(
        name=f"cosine-{index}",
        caption=f"{variant}, seed {analysis.seed}: cosine between the gradients of two datasets in specialist "
        f"{found.specialist} once trained, on at most {analysis.cases} validation images each. Blue: they pull the "
        f"same way; orange: against each other; full colour at {scale:.2f}. Framed: between two halves of the "
        "dataset's own cases. Lines set A, B and C apart.",
        corner="Dataset",
        header=[DATASETS[name].title for name in names],
        rows=rows,
        rules=groups,
        column_rules=groups,
    )
