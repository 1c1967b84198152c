"""Everything that is wrong with a download, before anything runs on it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.segmentation.data.folders import Files, find_cases
from mosaic_pipeline.segmentation.data.index import findings, inspect_case
from mosaic_pipeline.segmentation.data.splits import read_splits
from mosaic_pipeline.segmentation.datasets import LabelledSet


@dataclass(frozen=True)
class Checked:
    """What is wrong, a line each, and what else there is to say of a folder."""

    problems: tuple[str, ...]
    summary: tuple[str, ...]


def check_folder(
    folder: Path,
    dataset: LabelledSet | None = None,
    splits: Path | None = None,
    *,
    progress: Callable[[Sequence[Files]], Iterable[Files]] = iter,
) -> Checked:
    """Return what there is to say of a folder; every file is read. Nothing that is wrong is raised."""
    try:
        found = find_cases(folder, dataset)
    except PipelineError as error:
        return Checked((str(error),), ())
    problems = list(found.problems)
    if splits is not None:
        try:
            name = dataset.name if dataset else "dataset"
            read_splits(splits, {files.case: files.patient for files in found.cases}, name)
        except PipelineError as error:
            problems.append(str(error))
    records = []
    for files in progress(found.cases):
        try:
            records.append(inspect_case(folder, files, dataset))
        except PipelineError as error:
            problems.append(str(error))
    return Checked(tuple(problems), tuple(_summary(found.cases, records, findings(found, records))))


def _summary(cases: Sequence[Files], records: Sequence[Mapping[str, Any]], said: list[str]) -> list[str]:
    if not records:
        return said
    patients = len({files.patient for files in cases})
    axes = Counter(record["axes"] for record in records)
    shapes = [_span([record["shape"][axis] for record in records]) for axis in range(3)]
    spacings = [_span([record["spacing"][axis] for record in records]) for axis in range(3)]
    organs: Counter[str] = Counter()
    for record in records:
        organs.update({organ: bool(n) for organ, n in record["voxels"].items()})
    absent = [organ for organ, n in organs.items() if not n]
    some = [f"{organ} {n:,}" for organ, n in organs.items() if 0 < n < len(records)]
    return [
        f"{len(records):,} of {len(cases):,} cases in order; patients: {patients:,}",
        f"{' x '.join(shapes)} voxels of {' x '.join(spacings)} mm (right, forwards, upwards); stored as "
        + ", ".join(f"{name} {n:,}" for name, n in axes.most_common()),
        f"labels: {', '.join(organs)}" + (f"; not in every case: {', '.join(some)}" if some else ""),
        *([f"in no case: {few(absent, 20)}"] if absent else []),
        *said,
    ]


def _span(values: list[float]) -> str:
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    return low if low == high else f"{low}-{high}"
