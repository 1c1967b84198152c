"""What is odd about a dataset's images and labels: found while they are unpacked, and the words for it.

A model trains on such data as on any other, and its numbers do not show it. Nothing here looks at a whole array: an
image leaves a hash behind, so memory stays flat.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.datasets import Dataset, SplitName
from mosaic_pipeline.errors import PipelineError

TITLES = {"train": "training", "val": "validation", "test": "test"}
# Splits that a later one may share images or patients with, and what that is called.
_BEFORE: tuple[tuple[SplitName, "Kind", "Kind"], ...] = (
    ("train", "in_train", "patient_in_train"),
    ("val", "in_val", "patient_in_val"),
)
NAMED = 4  # classes that a sentence names one by one


Kind = Literal[
    "in_train",
    "in_val",
    "patient_in_train",
    "patient_in_val",
    "repeated",
    "constant",
    "dim",
    "absent",
    "trained",
]


@dataclass(frozen=True)
class Finding:
    """One oddity of a split.

    `in_train`, `in_val`: `images` of it are images of that split too, `patient_in_train`, `patient_in_val`: ... of a
    patient of whom that split has images, `repeated`: ... copies of earlier ones, `constant`: ... of one value
    throughout, `dim`: ... all of them, without a value above 1. `trained`: ... of the dataset `of`, on which models are
    trained. `absent`: none is of `classes`; of several labels, those whose answer is the same for all images.
    """

    kind: Kind
    split: SplitName
    images: int = 0
    classes: tuple[int, ...] = ()
    of: str = ""

    def record(self) -> dict[str, Any]:
        """Return it for meta.json, without what its kind does not have."""
        values = asdict(self) | {"classes": list(self.classes)}
        return {key: value for key, value in values.items() if value}


class Seen:
    """What was seen of a split: its labels [N, L] and, once all images went through `watch`, something of each.

    `hashes` [N] are uint64: of a quarter of a million images two that differ have the same with a probability of 2e-9.
    `varies` [N] is false for the images of one value throughout. `patients` [N] numbers whose the images are, below 0
    where nobody knows; None if that is so for all.
    """

    def __init__(self, labels: NDArray[np.int64], patients: NDArray[np.int64] | None = None) -> None:
        """Nothing was seen yet but the labels and patients."""
        self.labels = labels
        self.patients = patients
        self.hashes = np.empty(len(labels), np.uint64)
        self.varies = np.empty(len(labels), bool)
        self.largest = 0

    def watch(self, blocks: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Pass the blocks of images on, and look at them."""
        start = 0
        for block in blocks:
            flat, here = block.reshape(len(block), prod(block.shape[1:])), slice(start, start + len(block))
            digests = b"".join(hashlib.blake2b(image.data, digest_size=8).digest() for image in flat)
            self.hashes[here] = np.frombuffer(digests, np.uint64)
            self.varies[here] = flat.min(axis=1) < flat.max(axis=1)
            self.largest = max(self.largest, int(flat.max(initial=0)))
            start += len(block)
            yield block

    @property
    def varied(self) -> NDArray[np.uint64]:
        """The hashes of the images that are not constant."""
        return self.hashes[self.varies]

    def found_in(self, other: "Seen") -> NDArray[np.bool_]:
        """Which of the images [N] the other split has too. Constant ones are none: they give nothing away."""
        return np.isin(self.hashes, other.varied)

    def of_patients_in(self, other: "Seen") -> NDArray[np.bool_]:
        """Which of the images [N] are of a patient of whom the other split has images."""
        if self.patients is None or other.patients is None:
            return np.zeros(len(self.labels), bool)
        return np.isin(self.patients, other.patients) & (self.patients >= 0)


def find(dataset: Dataset, seen: Mapping[SplitName, Seen]) -> list[Finding]:
    """Return what is odd about the splits, in their order."""
    findings = []
    for split, here in seen.items():
        n = len(here.labels)
        for other, same, of_patient in _BEFORE:
            if other == split:
                break
            findings += [
                Finding(same, split, int(here.found_in(seen[other]).sum())),
                Finding(of_patient, split, int(here.of_patients_in(seen[other]).sum())),
            ]
        findings += [
            Finding("repeated", split, len(here.varied) - len(np.unique(here.varied))),
            Finding("constant", split, n - len(here.varied)),
            Finding("dim", split, n if here.largest <= 1 else 0),
            Finding("absent", split, classes=absent(dataset, here.labels)),
        ]
    return [finding for finding in findings if finding.images or finding.classes]


def find_trained(
    seen: Mapping[SplitName, Seen], trained: Mapping[str, NDArray[np.uint64]]
) -> list[tuple[Finding, NDArray[np.bool_]]]:
    """Return which images [N] of each split models are trained on: those with a hash of a `trained` dataset."""
    return [
        (Finding("trained", split, int(known.sum()), of=name), known)
        for split, here in seen.items()
        for name, hashes in trained.items()
        if (known := here.varies & np.isin(here.hashes, hashes)).any()
    ]


def absent(dataset: Dataset, labels: NDArray[np.int64]) -> tuple[int, ...]:
    """Return the classes without an image; of several labels, those with one answer for all images."""
    if dataset.multi_label:
        return tuple(np.flatnonzero(labels.min(axis=0) == labels.max(axis=0)).tolist())
    return tuple(sorted(set(range(dataset.num_classes)) - set(labels[:, 0].tolist())))


def refuse_one_class(raw: Path, dataset: Dataset, labels: NDArray[np.int64]) -> None:
    """Raise PipelineError if the labels [N, L] of the training images never differ. A single image is let through."""
    if len(labels) > 1 and (labels == labels[0]).all():
        what = "labels" if dataset.multi_label else "class"
        raise PipelineError(
            f"{raw}: all {len(labels):,} training images have the same {what} (train_labels is "
            f"{','.join(map(str, labels[0]))} throughout), so nothing can be learnt; check how the labels were made"
        )


def refuse_constant(raw: Path, split: str, seen: Seen) -> None:
    """Raise PipelineError if every image of a split has one value throughout."""
    if not seen.varies.any():
        raise PipelineError(
            f"{raw}: every image in {split}_images has one value throughout; check how the images were made"
        )


def refuse_leakage(raw: Path, seen: Mapping[SplitName, Seen], rows: Mapping[SplitName, NDArray[np.int64]]) -> None:
    """Raise PipelineError if test images are images of another split; `rows` says which rows of the file were seen."""
    test = seen["test"]
    for name, same, _ in _BEFORE:
        leaked, other = np.flatnonzero(test.found_in(seen[name])), seen[name]
        if len(leaked):
            twin = np.flatnonzero(other.hashes == test.hashes[leaked[0]])[0]
            here, there = rows["test"][leaked[0]], rows[name][twin]
            finding = Finding(same, "test", len(leaked))
            raise PipelineError(
                f"{raw}: {_of_images(finding, len(test.labels))} (test_images[{here}] is {name}_images[{there}]); "
                "take them out, or `data.allow_leakage: true` goes on and the report says so"
            )


def refuse_trained(
    raw: Path,
    seen: Mapping[SplitName, Seen],
    trained: Mapping[str, NDArray[np.uint64]],
    rows: Mapping[SplitName, NDArray[np.int64]],
) -> None:
    """Raise PipelineError if models are trained on images of what is to be an external dataset."""
    for finding, known in find_trained(seen, trained):
        first = rows[finding.split][np.flatnonzero(known)[0]]
        raise PipelineError(
            f"{raw}: {_of_images(finding, len(known))} ({finding.split}_images[{first}]); take the dataset out of "
            "data.external or the other out of data.datasets, or `data.allow_leakage: true` (of one's own its "
            "allow_leakage) goes on and the report says so"
        )


def describe(finding: Finding, n: int, dataset: Dataset, names: Sequence[str]) -> str:
    """Say it of a split of `n` images of a dataset whose classes have these names, without a full stop."""
    if finding.kind != "absent":
        return _of_images(finding, n)
    of = f"{TITLES[finding.split]} image"
    classes = _listing([f"“{names[index]}”" for index in finding.classes])
    without = f"all {of}s have the same answer to {classes}" if dataset.multi_label else f"no {of} is {classes}"
    return f"{without}, {_OF_ABSENT[finding.split]}"


_OF_ABSENT = {
    "train": "which cannot be learnt",
    "val": "so that the validation AUC is undefined and left out of the mean over datasets",
    "test": "so that the test AUC is undefined and left out of the mean over datasets",
}


def _of_images(finding: Finding, n: int) -> str:
    split, one = TITLES[finding.split], finding.images == 1
    some = f"{finding.images:,} of {n:,} {split} images"
    match finding.kind:
        case "repeated":
            return f"{some} {'repeats' if one else 'repeat'} an earlier one"
        case "constant":
            return f"{some} {'has' if one else 'have'} one value throughout"
        case "dim":
            return f"no value of the {split} images is above 1 of 255; were fractions cast to whole numbers?"
        case "trained":
            what = "is an image" if one else "are images"
            return f"{some} {what} of {finding.of} that models are trained or chosen on"
        case "patient_in_train" | "patient_in_val":
            other = TITLES[finding.kind.removeprefix("patient_in_")]
            return f"{some} {'is' if one else 'are'} of patients of whom {other} images are too"
        case _:
            other = TITLES[finding.kind.removeprefix("in_")]
            return f"{some} {f'is a {other} image' if one else f'are {other} images'} too"


def _listing(names: list[str]) -> str:
    """Name a few of them, as alternatives."""
    if len(names) > NAMED:
        names = [*names[: NAMED - 1], f"{len(names) - NAMED + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
