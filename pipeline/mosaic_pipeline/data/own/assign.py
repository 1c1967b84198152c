"""Which split each image is in: as given, or drawn; and what must not be in two of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.data.findings import Seen
from mosaic_pipeline.data.own.source import Case
from mosaic_pipeline.data.own.split import draw
from mosaic_pipeline.data.subset import rarest_label
from mosaic_pipeline.datasets import SPLITS
from mosaic_pipeline.own import OwnSource
from mosaic_pipeline.present import present

COUNTED = 15  # classes whose images a sentence counts one by one


def with_patients(
    cases: Sequence[Case], of_files: Sequence[str | None], own: OwnSource
) -> tuple[Sequence[Case], list[str]]:
    """Return cases with the patients that their files name, where nobody else does, and sentences on that.

    An image whose file names none is one of its own. One name for all files says nothing: they had to be made nameless.
    """
    if own.columns.patient == "" or any(case.patient is not None for case in cases) or not any(of_files):
        return cases, []
    known = [patient for patient in of_files if patient]
    if len(known) > 1 and len(set(known)) == 1:
        return cases, ["PatientID is the same in all DICOM files that have one, so it is not used."]
    some = f", which {len(known):,} of {len(cases):,} have" if len(known) < len(cases) else ""
    return (
        [replace(case, patient=patient) for case, patient in zip(cases, of_files, strict=True)],
        [f"Patients from the PatientID of the DICOM files{some}."],
    )


def numbered(cases: Sequence[Case]) -> NDArray[np.int64] | None:
    """Return a number for the patient of each case [N], -1 where nobody says; None if nobody does at all."""
    patients = _patients(cases)
    number = {patient: index for index, patient in enumerate(sorted({each for each in patients if each is not None}))}
    return np.array([number.get(patient, -1) if patient else -1 for patient in patients], np.int64) if number else None


def assign(cases: Sequence[Case], seen: Seen, own: OwnSource) -> tuple[list[str], list[str]]:
    """Return the split of each case, and sentences on how it came to be. `seen` are the images, in the same order.

    Where a split is drawn, what belongs to one patient stays together, and copies of one image do; a training and a
    test split without validation lend it a part of training. Raises ValueError for an empty split, and unless leakage
    is allowed for a patient or an image in two splits.
    """
    given = {case.split for case in cases}
    if given == {None}:
        shares = {"train": 1 - own.split.val - own.split.test, "val": own.split.val, "test": own.split.test}
        splits = _drawn(cases, range(len(cases)), seen, own, shares)
        said = f"Split drawn {_drawn_by(cases, own)}"
    else:
        splits = [present(case.split) for case in cases]  # all of a source or none
        said = "Split as given"
        if given == {"train", "test"}:
            rows = [row for row, split in enumerate(splits) if split == "train"]
            drawn = _drawn(cases, rows, seen, own, {"train": 1 - own.split.val, "val": own.split.val})
            for row, split in zip(rows, drawn, strict=True):
                splits[row] = split
            said = f"Test split as given; validation drawn from training {_drawn_by(cases, own)}"
        elif missing := [split for split in SPLITS if split not in given]:
            raise ValueError(f"no image is in the split {missing[0]}; without any split, one is drawn")
    if not own.allow_leakage:
        _refuse_leakage(cases, splits, _patients(cases), "of one patient")
        _refuse_leakage(cases, splits, _copies(seen), "the same image")
    return splits, [f"{said}: {_counted(cases, splits, own)}.", *_leaking(cases, seen, splits), *_repeated(cases, seen)]


def _drawn(
    cases: Sequence[Case], rows: Sequence[int], seen: Seen, own: OwnSource, shares: Mapping[str, float]
) -> list[str]:
    """Return a split for each of these rows."""
    strata = rarest_label(seen.labels) if own.multi_label else seen.labels[:, 0]
    together = _joined(rows, [_patients(cases), _copies(seen)])
    groups: dict[int, list[int]] = {}
    for row in rows:
        groups.setdefault(together[row], []).append(row)
    named = {min(cases[row].patient or cases[row].name for row in group): group for group in groups.values()}
    place = {row: index for index, row in enumerate(rows)}
    try:
        split_of = draw(
            {name: [place[row] for row in group] for name, group in named.items()},
            [int(strata[row]) for row in rows],
            shares,
            own.split.seed,
        )
    except ValueError as error:
        what = "patients" if any(_patients(cases)) else "different images"
        raise ValueError(f"the split is drawn by {what}: {error}") from None
    of_group = {together[group[0]]: split_of[name] for name, group in named.items()}
    return [of_group[together[row]] for row in rows]


def _joined(rows: Sequence[int], partitions: Sequence[Sequence[object]]) -> dict[int, int]:
    """Return for each row the first of those that it belongs together with, by any partition, over any number of steps.

    A partition says of each row what it is of; None is of nothing.
    """
    first = {row: row for row in rows}

    def find(row: int) -> int:
        while first[row] != row:
            first[row] = first[first[row]]
            row = first[row]
        return row

    for partition in partitions:
        seen: dict[object, int] = {}
        for row in rows:
            if partition[row] is not None:
                one, other = sorted((find(row), find(seen.setdefault(partition[row], row))))
                first[other] = one
    return {row: find(row) for row in rows}


def _patients(cases: Sequence[Case]) -> list[str | None]:
    return [case.patient for case in cases]


def _copies(seen: Seen) -> list[int | None]:
    """Return what is the same for copies of one image. Constant ones are nobody's copies: they give nothing away."""
    varies = seen.varies.tolist()
    return [key if varied else None for key, varied in zip(seen.hashes.tolist(), varies, strict=True)]


def _refuse_leakage(cases: Sequence[Case], splits: Sequence[str], partition: Sequence[object], what: str) -> None:
    first: dict[object, int] = {}
    found = [
        (first[key], row)
        for row, key in enumerate(partition)
        if key is not None and splits[first.setdefault(key, row)] != splits[row]
    ]
    if found:
        one, other = found[0]
        more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
        raise ValueError(
            f"{cases[one].place} in {splits[one]} and {cases[other].place} in {splits[other]} are {what}{more}; "
            "mend the split, or `allow_leakage: true` goes on"
        )


def _leaking(cases: Sequence[Case], seen: Seen, splits: Sequence[str]) -> list[str]:
    """Say what is in several splits, which is so only where that is allowed."""
    said = []
    for what, partition in (("Patients", _patients(cases)), ("Different images", _copies(seen))):
        found: dict[object, set[str]] = {}
        for key, split in zip(partition, splits, strict=True):
            if key is not None:
                found.setdefault(key, set()).add(split)
        if shared := sum(len(each) > 1 for each in found.values()):
            said.append(f"{what} that are in more than one split: {shared:,} of {len(found):,} (allow_leakage).")
    return said


def _drawn_by(cases: Sequence[Case], own: OwnSource) -> str:
    if any(_patients(cases)):
        by = "by patient"
    elif own.columns.patient == "":
        by = "by image, patients being left out (columns.patient)"
    else:
        by = "by image, since nothing says which are of one patient"
    return f"{by}, alike in all {'labels' if own.multi_label else 'classes'} (seed {own.split.seed})"


def _counted(cases: Sequence[Case], splits: Sequence[str], own: OwnSource) -> str:
    parts, many = [], len(own.classes) > COUNTED
    for split in SPLITS:
        rows = [case for case, of in zip(cases, splits, strict=True) if of == split]
        labels = np.array([case.label for case in rows])
        counts = labels.sum(axis=0) if own.multi_label else np.bincount(labels[:, 0], minlength=len(own.classes))
        known = len({case.patient for case in rows} - {None})
        patients = f" of {known:,} {'patient' if known == 1 else 'patients'}" if known else ""
        numbers = f"{counts.min():,} to {counts.max():,}" if many else " + ".join(f"{n:,}" for n in counts.tolist())
        parts.append(f"{split} {len(rows):,} {'image' if len(rows) == 1 else 'images'}{patients} ({numbers})")
    of, order = "label" if own.multi_label else "class", "" if many else " in the order in which they are declared"
    return f"{'; '.join(parts)}, by {of}{order}"


def _repeated(cases: Sequence[Case], seen: Seen) -> list[str]:
    labels: dict[int, set] = {}
    keys = _copies(seen)
    counts = Counter(key for key in keys if key is not None)
    for case, key in zip(cases, keys, strict=True):
        if key is not None:
            labels.setdefault(key, set()).add(case.label)
    repeated = sum(count - 1 for count in counts.values())
    unlike = sum(len(each) > 1 for each in labels.values())
    said = [f"Copies of an earlier image: {repeated:,} of {len(cases):,}."] if repeated else []
    return said + ([f"Images that are there with different labels: {unlike:,}."] if unlike else [])
