"""Section: whether datasets of one group pull a shared specialist the same way, and other groups another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from mosaic_pipeline.evaluation.significance import holm
from mosaic_pipeline.reporting.comparisons import ALPHA
from mosaic_pipeline.reporting.gradients import Gradients
from mosaic_pipeline.reporting.heat import HeatCell, HeatMap, breaks, decimal, full_scale, tint
from mosaic_pipeline.reporting.means import TIE
from mosaic_pipeline.reporting.results import Results, once
from mosaic_pipeline.reporting.table import NONE, Cell, Table
from mosaic_pipeline.reporting.trainings import mean_of, seed_list
from mosaic_pipeline.reporting.wording import MINUS, listing, p_value, plural

PERMUTATIONS = 2000
GROUPS = "All groups"


@dataclass(frozen=True)
class Partition:
    """Datasets in `groups` [D], and the cosines between their gradients in each training, [S, D, D].

    A cosine is nan where it is undefined.
    """

    groups: np.ndarray
    cosines: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Cosines [D, D], mean over trainings."""
        return self.cosines.mean(axis=0)

    @property
    def gaps(self) -> np.ndarray:
        """By how much the mean cosine within groups is above that between them, training by training [S]."""
        return np.array([gap(cosine, self.groups) for cosine in self.cosines])

    @cached_property
    def p(self) -> float:
        """Share of partitions drawn at random, in groups of the same sizes, that set the two means as far apart.

        Two-sided, whichever is the higher one, and with the add-one rule; nan where one of the means has no pairs.
        """
        drawn = np.random.default_rng(0).permuted(np.tile(self.groups, (PERMUTATIONS, 1)), axis=1)
        observed, others = (abs(gap(self.mean, groups)) for groups in (self.groups, drawn))
        return float("nan") if np.isnan(observed) else float(1 + np.sum(others >= observed - TIE)) / (1 + PERMUTATIONS)


def gap(cosine: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean cosine within groups minus that between them; nan without pairs of either kind."""
    return np.subtract(*within_and_between(cosine, groups))


def within_and_between(cosine: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean cosine over pairs of different datasets of one group, and over those of different groups; nan for none.

    `cosine` is [D, D] and `groups` [..., D]: for each of many partitions at once.
    """
    row, column = np.tril_indices(len(cosine), k=-1)
    defined = np.isfinite(cosine[row, column])
    row, column = row[defined], column[defined]
    same = groups[..., row] == groups[..., column]
    with np.errstate(invalid="ignore"):
        return tuple(pairs @ cosine[row, column] / pairs.sum(axis=-1) for pairs in (same, ~same))


def directions(partitions: Sequence[Partition]) -> list[tuple[int, float]]:
    """Return what is shown of each partition, and its p, adjusted by Holm over all of them.

    1: datasets of a group pull more alike; -1: less alike; 0: neither, for want of a second training, because trainings
    disagree on the sign, or because groups drawn at random would do as much.
    """
    adjusted = holm([partition.p for partition in partitions])
    return [(_direction(partition.gaps, p), p) for partition, p in zip(partitions, adjusted, strict=True)]


def _direction(gaps: np.ndarray, p: float) -> int:
    signs = set(np.sign(gaps))
    return int(signs.pop()) if len(gaps) > 1 and len(signs) == 1 and p < ALPHA else 0


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section: (variant, sentences, group means, map) for each variant with a shared specialist."""
    parts = []
    for index, (variant, found) in enumerate(_tested(results).items()):
        if variant not in results.on_page:
            continue
        conflicts, table = results.conflicts[variant], {what: partition for what, (partition, *_) in found.items()}
        sentences = [partition_sentence(what, *called) for what, called in found.items()]
        sentences += [rounds_sentence(results, conflicts), noise_sentence(mean_halves(conflicts))]
        means = groups_table(table[GROUPS], index)
        parts.append((variant, sentences, means, cosine_map(results, variant, table[GROUPS].mean, index)))
    return {"parts": parts} if parts else None


@once
def _tested(results: Results) -> dict[str, dict[str, tuple[Partition, int, float]]]:
    """By variant and by what is asked: the partition, what is shown of it, and its adjusted p."""
    tested = {
        variant: _partitions(results, conflicts, [each.mean for each in conflicts])
        for variant, conflicts in results.conflicts.items()
    }
    # One family: all that the section may claim, of whichever variant.
    shown = iter(directions([partition for table in tested.values() for partition in table.values()]))
    return {
        variant: {what: (partition, *next(shown)) for what, partition in table.items()}
        for variant, table in tested.items()
    }


def partitions(groups: Sequence[str], dimensions: Sequence[int], cosines: Sequence[np.ndarray]) -> dict[str, Partition]:
    """Return what is asked of the cosines [D, D] of each training: all groups, and those of 2D if there is more.

    `groups` and `dimensions` are those of the D datasets.
    """
    of, flat, by_training = np.array(groups), np.array(dimensions) == 2, np.array(cosines)
    asked = {GROUPS: Partition(of, by_training)}
    if not flat.all() and len(set(of[flat])) > 1:
        among = f"{' against '.join(sorted(set(of[flat])))} among 2D datasets"
        asked[among] = Partition(of[flat], by_training[:, flat][:, :, flat])
    return asked


def _partitions(
    results: Results, conflicts: Sequence[Gradients], cosines: Sequence[np.ndarray]
) -> dict[str, Partition]:
    names = conflicts[0].datasets
    groups, dimensions = map(results.specialist, names), (results.dataset(name).dimension for name in names)
    return partitions([*groups], [*dimensions], cosines)


def mean_halves(conflicts: Sequence[Gradients]) -> list[float]:
    """Cosine [D] between the gradients of two halves of a dataset's cases, mean over rounds and then over trainings."""
    return mean_of([training.halves for training in conflicts])


def partition_sentence(what: str, partition: Partition, direction: int, p: float) -> str:
    """Compare the mean cosine within groups with that between groups, and with groups drawn at random."""
    within, between = within_and_between(partition.mean, partition.groups)
    gaps = partition.gaps
    if np.isnan(within - between):
        return f"{what}: there are no pairs of datasets both within a group and between groups, so nothing is compared."
    means = f"mean cosine {_number(float(within))} within a group and {_number(float(between))} between groups"
    if len(gaps) == 1:
        return f"{what}: {means}; one training, by which neither is called higher."
    if direction:
        divided = f"The division of 2D datasets into {listing(sorted(set(partition.groups)))}"
        subject, alike = "The partition" if what == GROUPS else divided, "more" if direction > 0 else "less"
        verdict = "follows the conflicts" if direction > 0 else "sets together datasets that conflict more than others"
        return (
            f"{what}: datasets of one group pull the shared specialist {alike} alike than datasets of different groups "
            f"in each of {len(gaps)} trainings: {means} ({_test(p)}). {subject} {verdict}."
        )
    if len(set(np.sign(gaps))) > 1:
        by_training = listing([_signed(each) for each in gaps])
        return f"{what}: {means}. Trainings disagree on which is higher (by {by_training}), so neither is shown to be."
    return f"{what}: {means}. That they differ by more than chance is not shown ({_test(p)})."


def _test(p: float) -> str:
    return f"permutation p {p_value(p)} among groups of these sizes drawn at random, adjusted by Holm"


def rounds_sentence(results: Results, conflicts: Sequence[Gradients]) -> str:
    """How far the means were apart after the first round and after the last, mean over trainings."""
    counts = sorted({each.rounds for each in conflicts})
    if counts == [1]:
        return "There was one round to measure after."
    first, last = (
        _partitions(results, conflicts, cosines)
        for cosines in ([each.first for each in conflicts], [each.last for each in conflicts])
    )
    told = [
        f"{_signed(float(gap(first[what].mean, first[what].groups)))} and "
        f"{_signed(float(gap(last[what].mean, last[what].groups)))} ({what})"
        for what in first
    ]
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"Within minus between, after round 1 and after the last one ({number}): {'; '.join(told)}."


def noise_sentence(halves: Sequence[float]) -> str:
    """Tell how alike two halves of the same cases are, with which other cosines are to be compared."""
    halves = [value for value in halves if np.isfinite(value)]
    if not halves:
        return "How much of this is noise is unknown: no dataset has a gradient in both halves of its cases."
    # Spearman-Brown: what samples of twice the size would show of the same agreement.
    ceiling = fmean(2 * value / (1 + value) if value > 0 else 0.0 for value in halves)
    return (
        f"How much is noise: the gradients of two halves of one dataset's cases have a mean cosine of "
        f"{_number(fmean(halves))} ({_number(min(halves))} to {_number(max(halves))}, framed in the map). So two "
        f"datasets that pull exactly alike would reach about {_number(ceiling)} here, not 1."
    )


def groups_table(partition: Partition, index: int) -> Table:
    """Mean cosine of every pair of groups."""
    names, cosine = sorted(set(partition.groups)), partition.mean
    rows = []
    for one in names:
        cells = [_mean_of_pairs(cosine, partition.groups == one, partition.groups == other) for other in names]
        rows.append([Cell(f"Group {one}"), *cells])
    return Table(
        name=f"cosine-groups-{index}",
        caption="Mean cosine over pairs of different datasets, by their groups.",
        header=["", *(f"Group {name}" for name in names)],
        rows=rows,
    )


def _mean_of_pairs(cosine: np.ndarray, one: np.ndarray, other: np.ndarray) -> Cell:
    values = cosine[np.outer(one, other) & ~np.eye(len(one), dtype=bool)]
    values = values[np.isfinite(values)]
    return Cell(_number(values.mean()) if len(values) else NONE)


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-", MINUS)


def _signed(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:+.3f}".replace("-", MINUS)


def cosine_map(results: Results, variant: str, mean: np.ndarray, index: int) -> HeatMap:
    """Rows and columns: datasets by group; mean cosines [D, D] in the order in which they were measured."""
    conflicts = results.conflicts[variant]
    found, halves = conflicts[0], mean_halves(conflicts)
    names = [name for name in results.datasets if name in found.datasets]
    places = [found.datasets.index(name) for name in names]
    cosine = mean[np.ix_(places, places)]
    below = cosine[np.tril_indices(len(names), k=-1)]
    scale = full_scale(below[np.isfinite(below)].tolist())
    cosine[np.diag_indices(len(names))] = [halves[place] for place in places]
    rows = []
    for row, (name, values) in enumerate(zip(names, cosine.tolist(), strict=True)):
        cells = [_cell(value, scale) for value in values]
        cells[row] = replace(cells[row], own=True)
        rows.append((results.title(name), cells))
    groups = breaks([results.specialist(name) for name in names])
    averaged = "rounds" if len(conflicts) == 1 else "rounds and trainings"
    return HeatMap(
        name=f"cosine-{index}",
        caption=f"{variant}, {seed_list(results.seeds)}: cosine between the gradients of two datasets in specialist "
        f"{found.specialist}, on {plural(found.cases, 'training image')} of each at most, mean over {averaged}. Blue: "
        f"they pull the same way; orange: against each other; full colour at {scale:.2f}. Framed: between two halves "
        f"of the dataset's own cases. Lines set {listing([*results.groups])} apart.",
        corner="Dataset",
        header=[results.title(name) for name in names],
        rows=rows,
        rules=groups,
        column_rules=groups,
    )


def _cell(value: float, scale: float) -> HeatCell:
    return HeatCell(NONE) if np.isnan(value) else HeatCell(decimal(value), tint(value, scale))
