"""What a set's folder holds, case by case: files by their md5, voxels by a digest, organs, split and warnings.

It is all that later stages need to know before they open a scan, and what they hold the files against.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.reading import read_record, reading
from mosaic_pipeline.segmentation.data.folders import Files, Found, find_cases
from mosaic_pipeline.segmentation.data.nifti import read_image, read_label_map, read_labels
from mosaic_pipeline.segmentation.data.splits import SPLITS, Blocks, in_order
from mosaic_pipeline.segmentation.datasets import LabelledSet, count_ids, read_form

# mm beyond which a voxel is more likely said in other units.
_FINEST, _COARSEST = 0.05, 20.0

# case -> patient to case -> split: `draw_splits` or `read_splits`, with all else said.
Splitter = Callable[[Mapping[str, str]], Mapping[str, str]]


class Md5(BaseModel):
    """Of the files as they are, compressed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str
    labels: str


class Case(BaseModel):
    """One scan with its label map; files are relative to the set's folder, `shape` and `spacing` those in RAS+.

    With a `block`, first slice along z and end, it is that part of the scan alone which is in `split`, and `voxels` are
    those of the part; the scan's other parts are cases of the same name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    case: str
    patient: str
    image: str
    labels: str
    md5: Md5
    digest: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    axes: str
    voxels: dict[str, int]
    split: Literal["train", "val", "test"]
    warnings: list[str]
    block: tuple[Annotated[int, Field(ge=0)], int] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.block is not None and not self.block[0] < self.block[1] <= self.shape[2]:
            raise ValueError(f"{self.case}: block {list(self.block)} is none of {self.shape[2]} slices")
        return self

    @property
    def slices(self) -> slice:
        """The slices along z that are in the split."""
        return slice(*(self.block or (0, self.shape[2])))


class Index(BaseModel):
    """`segmentation/index/<dataset>.json`; cases in order of their ids, `findings` are sentences for the report."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    form: dict[str, Any]
    source: str
    cases: list[Case]
    findings: list[str]

    @property
    def labelled_set(self) -> LabelledSet:
        """The set, as far as a training depends on it."""
        return read_form(self.form)

    def of_split(self, split: str) -> list[tuple[int, Case]]:
        """Return the cases of a split, each with its place in the index."""
        return [(place, case) for place, case in enumerate(self.cases) if case.split == split]


def build_index(
    folder: Path,
    dataset: LabelledSet,
    split: Splitter | Blocks,
    *,
    source: str,
    case_limit: int | None = None,
    progress: Callable[[Sequence[Files]], Iterable[Files]] = iter,
) -> dict[str, Any]:
    """Return the index of a folder, as JSON has it. Every file is read once, one case at a time.

    `case_limit` takes that many cases, chosen by a hash, and of each split its share: one at least. Raises
    PipelineError for the first thing that is wrong (`mosaic check-scans` lists all), and if the same scan is in
    two splits. With `Blocks` it is in all of them, which a set of three patients or more has no need of; label maps are
    then read twice.
    """
    found = find_cases(folder, dataset)
    if found.problems:
        raise PipelineError(found.problems[0] + _and_more(folder, dataset.name, len(found.problems) - 1))
    if isinstance(split, Blocks):
        _refuse_blocks(dataset.name, {files.patient for files in found.cases})
        cases = _limited(dataset.name, found.cases, {files.case: "all" for files in found.cases}, case_limit)
        records = [inspect_case(folder, files, dataset) for files in progress(cases)]
        placed = [part for record in records for part in cut_case(folder, record, dataset, split)]
    else:
        split_of = split({files.case: files.patient for files in found.cases})
        cases = _limited(dataset.name, found.cases, split_of, case_limit)
        records = [inspect_case(folder, files, dataset) for files in progress(cases)]
        placed = [record | {"split": split_of[record["case"]]} for record in records]
        refuse_copies(dataset.name, [(record["case"], record["split"], record["digest"]) for record in placed])
    keys = list(Case.model_fields)
    return {
        "dataset": dataset.name,
        "form": dataset.form(),
        "source": source,
        "cases": [{key: record[key] for key in keys if key in record} for record in placed],
        "findings": findings(found, records),
    }


def inspect_case(folder: Path, files: Files, dataset: LabelledSet | None) -> dict[str, Any]:
    """Return the record of a case without its split. Raises PipelineError, a line, if anything is wrong with it.

    Without a set, label ids stand for organs, and any will do.
    """
    image, labels = Path(folder) / files.image, Path(folder) / files.labels
    scan = read_image(image)
    if scan.voxels.min() == scan.voxels.max():
        raise PipelineError(f"{image}: all its voxels are {scan.voxels.flat[0]:g}; fetch it again, or leave it out")
    ids, label_warnings = read_label_map(labels, scan)
    counts = count_ids(ids)
    if min(counts) < 0:
        raise PipelineError(f"{labels}: label {min(counts)} is negative; background is 0")
    if dataset is not None:
        try:
            dataset.check_ids(counts)
        except ValueError as error:
            way_out = "declare a set with these ids, or with `ignore`, in segmentation.data.custom"
            raise PipelineError(f"{labels}: {error}; {way_out}") from None
    known = dataset.labels if dataset else {id_: str(id_) for id_ in sorted(counts) if id_}
    voxels = {organ: counts.get(id_, 0) for id_, organ in known.items()}
    if not any(voxels.values()):
        raise PipelineError(f"{labels}: all of it is background; fetch it again, or leave the case out")
    warnings = [*scan.warnings, *label_warnings]
    if not all(_FINEST <= side <= _COARSEST for side in scan.spacing):
        warnings.append(f"voxels of {' x '.join(f'{side:.3g}' for side in scan.spacing)} mm, if its header means mm")
    if dataset and dataset.modality == "ct" and scan.voxels.min() >= 0:
        warnings.append("no value below 0, so perhaps no Hounsfield units")
    return {
        "case": files.case,
        "patient": files.patient,
        "image": files.image,
        "labels": files.labels,
        "md5": {"image": md5_file(image), "labels": md5_file(labels)},
        "digest": voxel_digest(scan.voxels),
        "shape": list(scan.voxels.shape),
        "spacing": [round(side, 6) for side in scan.spacing],
        "axes": scan.stored.axes,
        "voxels": voxels,
        "warnings": warnings,
    }


def cut_case(folder: Path, record: Mapping[str, Any], dataset: LabelledSet, blocks: Blocks) -> list[dict[str, Any]]:
    """Return the record of each block of a scan, given that of `inspect_case`.

    Raises PipelineError, a line, if the scan is too thin, or if all of a block is background.
    """
    image, labels = Path(folder) / record["image"], Path(folder) / record["labels"]
    ids = read_labels(labels)
    parts = []
    for split, (start, end) in blocks.of(ids.shape[2], str(image)).items():
        counts = count_ids(ids[..., start:end])
        voxels = {organ: counts.get(id_, 0) for id_, organ in dataset.labels.items()}
        if not any(voxels.values()):
            raise PipelineError(
                f"{labels}: slices {start + 1} to {end} ({split}) are all background; leave the case out, or take "
                "other shares in segmentation.data.split"
            )
        parts.append({**record, "voxels": voxels, "split": split, "block": [start, end]})
    return parts


def voxel_digest(voxels: NDArray) -> str:
    """Return an md5 of a volume [X,Y,Z] in RAS+, which is the same however a file stores the scan."""
    digest = hashlib.md5(repr(tuple(voxels.shape)).encode())
    for z in range(voxels.shape[2]):  # by slices, so that memory stays flat
        digest.update(np.ascontiguousarray(voxels[:, :, z], dtype="<f4").tobytes())
    return digest.hexdigest()


def refuse_copies(name: str, cases: Iterable[tuple[str, str, str]]) -> None:
    """Raise PipelineError if one scan is in two splits of a set: case, split and digest of each."""
    first: dict[str, tuple[str, str]] = {}
    for case, split, digest in cases:
        other, of_other = first.setdefault(digest, (case, split))
        if of_other != split:
            raise PipelineError(
                f"{name}: {other} ({of_other}) and {case} ({split}) are the same scan; leave one out, or say in "
                "patients.csv that they are one patient's"
            )


def refuse_shared(indices: Iterable[Index]) -> None:
    """Raise PipelineError if one scan is in two sets: what one trains on, another would test on.

    FLARE22's labelled cases, for one, are cases of the Decathlon's pancreas.
    """
    first: dict[str, tuple[str, str]] = {}
    for index in indices:
        for case in index.cases:
            other, of_other = first.setdefault(case.digest, (index.dataset, case.case))
            if other != index.dataset:
                raise PipelineError(
                    f"{other} ({of_other}) and {index.dataset} ({case.case}) have the same scan; leave one of the "
                    "datasets out, or the case"
                )


def findings(found: Found, records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return, in sentences, what is worth knowing of a set's files: a line a warning, with how many cases have it."""
    by_warning: dict[str, list[str]] = {}
    for record in records:
        for warning in record["warnings"]:
            by_warning.setdefault(warning, []).append(record["case"])
    by_digest: dict[str, list[str]] = {}
    for record in records:
        by_digest.setdefault(record["digest"], []).append(record["case"])
    return [
        *(f"{note[:1].upper()}{note[1:]}." for note in found.notes),
        *(f"{few(cases)}: {warning}." for warning, cases in by_warning.items()),
        *(f"{few(cases)}: the same scan." for cases in by_digest.values() if len(cases) > 1),
    ]


def write_index(path: Path, index: Mapping[str, Any]) -> None:
    """Write an index, after holding it against what readers expect."""
    Index.model_validate(index)
    write_text(path, json.dumps(index, indent=1, ensure_ascii=False) + "\n")


def read_index(path: Path) -> Index:
    """Return an index. Raises PipelineError, in one line, if the file is none or not of its name's dataset."""
    index = read_record(path, Index)
    with reading(path):
        if index.dataset != Path(path).stem:
            raise ValueError(f"is of dataset {index.dataset}")
        read_form(index.form)
        if _twice(index.cases):
            raise ValueError("one case is there twice")
    return index


def read_tested(path: Path, dataset: LabelledSet) -> Index:
    """Return an index with scans that test, of the very set that a model knows. Raises PipelineError if it is none."""
    index = read_index(path)
    with reading(path, f"`dvc repro seg_configure` takes over what {index.dataset} is now"):
        if index.form != dataset.form():
            raise ValueError("not of the form that the configuration has")
    if not index.of_split("test"):
        raise PipelineError(f"{path}: no scan tests; give {index.dataset} one in segmentation.data.split")
    return index


def _refuse_blocks(name: str, patients: set[str]) -> None:
    """Raise PipelineError where each split could have a patient of its own."""
    if len(patients) >= len(SPLITS):
        raise PipelineError(
            f"{name}: {len(patients):,} patients, enough to split by patient; take `split_by: slices` out of "
            f"segmentation.data.custom.{name}"
        )


def _twice(cases: Iterable[Case]) -> bool:
    """Whether any slice of a case is in two records."""
    spans = sorted((case.case, case.slices.start, case.slices.stop) for case in cases)
    return any(case == after and end > start for (case, _, end), (after, start, _) in pairwise(spans))


def _limited(name: str, cases: Sequence[Files], split_of: Mapping[str, str], limit: int | None) -> tuple[Files, ...]:
    """Return `limit` of the cases: the splits stay as they are, and each keeps its share."""
    of_split: dict[str, list[str]] = {}
    for case in in_order(set(split_of), "limit"):
        of_split.setdefault(split_of[case], []).append(case)
    if limit is not None and limit < len(of_split):
        raise PipelineError(
            f"{name}: segmentation.data.case_limit {limit} leaves a split empty; {len(of_split)} at least"
        )
    ranked = sorted((place / len(of), case) for of in of_split.values() for place, case in enumerate(of))
    kept = {case for _, case in ranked[:limit]}
    return tuple(files for files in cases if files.case in kept)


def _and_more(folder: Path, name: str, n: int) -> str:
    if not n:
        return ""
    return f" (and {n:,} more; `mosaic check-scans {folder} --dataset {name}` lists all)"
