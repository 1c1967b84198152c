"""Which cases train, which validate and which test: drawn by patient, or as a file says; or parts of each scan.

What is drawn depends on a seed and on names alone, so that every machine draws the same.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.reading import reading

SPLITS = ("train", "val", "test")

# What is to be said wherever a number of such a set stands.
BY_SLICES = "trained and tested by slices of the same scans, which shows that it runs, and nothing about accuracy"

_MEND = 'write it as {"train": [cases], "val": [cases], "test": [cases]}, or that for each dataset'


def draw_splits(patients: Mapping[str, str], *, test: float, val: float, seed: int, name: str) -> dict[str, str]:
    """Return the split of each case (case -> patient): patients in order of a hash, first those that test.

    Each split has one patient at least. Raises PipelineError if there are too few; `name` is the dataset's.
    """
    drawn = in_order(set(patients.values()), seed)
    n_test, n_val = _counts(len(drawn), test, val)
    if len(drawn) < 1 + n_test + n_val:
        raise PipelineError(
            f"{name}: {len(drawn)} patient{'s' * (len(drawn) != 1)}, too few to test on {n_test}, validate on {n_val} "
            "and train; add some, or say which is which in segmentation.data.split.file"
        )
    of_patient = dict.fromkeys(drawn, "train")
    of_patient |= dict.fromkeys(drawn[:n_test], "test") | dict.fromkeys(drawn[n_test : n_test + n_val], "val")
    return {case: of_patient[patient] for case, patient in patients.items()}


@dataclass(frozen=True)
class Blocks:
    """Every scan in all splits, by blocks of its slices: the way out for a set of one patient or two.

    Along z in RAS what trains lies lowest, what tests on top, what validates between them, without a gap. Neighbouring
    slices are nearly alike, so that numbers of such a set mean nothing (`BY_SLICES`).
    """

    test: float
    val: float

    def of(self, depth: int, scan: str) -> dict[str, tuple[int, int]]:
        """Return first slice and end of each split's block; sizes by the shares, and one slice at least.

        Raises PipelineError if a scan of so many slices is too thin; `scan` names it.
        """
        n_test, n_val = _counts(depth, self.test, self.val)
        n_train = depth - n_val - n_test
        if n_train < 1:
            raise PipelineError(
                f"{scan}: {depth} slice{'s' * (depth != 1)}, too few to test on {n_test}, validate on {n_val} and "
                "train; leave the case out"
            )
        return {"train": (0, n_train), "val": (n_train, n_train + n_val), "test": (n_train + n_val, depth)}


def in_order(names: set[str], seed: int | str) -> list[str]:
    """Return names in an order that a seed decides, whatever others there are."""
    return sorted(names, key=lambda name: (hashlib.sha256(f"{seed}:{name}".encode()).hexdigest(), name))


def read_splits(file: Path, patients: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the split of each case of dataset `name` (case -> patient) as a file says it.

    Raises PipelineError if the file leaves a case out, names one that is not there, or tears a patient apart.
    """
    file = Path(file)
    with reading(file, _MEND):
        tree = json.loads(file.read_text(encoding="utf-8"))
        split_of = _split_of(_of_dataset(tree, name), name)
        if unknown := sorted(set(split_of) - set(patients)):
            raise ValueError(f"{few(unknown)}: no case of {name}")
        if missing := sorted(set(patients) - set(split_of)):
            raise ValueError(f"{name}: {few(missing)} in no split")
        if empty := [split for split in SPLITS if split not in split_of.values()]:
            raise ValueError(f"{name}: no case in {few(empty)}")
        torn = {patients[case]: set[str]() for case in split_of}
        for case, split in split_of.items():
            torn[patients[case]].add(split)
        if several := [patient for patient, splits in sorted(torn.items()) if len(splits) > 1]:
            raise ValueError(f"{name}: patient {few(several)} in {' and '.join(sorted(torn[several[0]]))}")
    return {case: split_of[case] for case in patients}


def _counts(number: int, test: float, val: float) -> tuple[int, int]:
    """Return how many of a number test and validate."""
    return max(1, int(number * test + 0.5)), max(1, int(number * val + 0.5))


def _of_dataset(tree: Any, name: str) -> Mapping[str, Any]:
    if isinstance(tree, list):
        raise ValueError("a list, as nnU-Net's folds are, which leave out what tests")
    if not isinstance(tree, dict):
        raise ValueError("not a mapping")
    if set(tree) <= set(SPLITS):
        return tree
    if not isinstance(tree.get(name), dict):
        raise ValueError(f"neither train, val and test nor {name} among {few(map(str, tree))}")
    return tree[name]


def _split_of(by_split: Mapping[str, Any], name: str) -> dict[str, str]:
    if strange := [str(key) for key in by_split if key not in SPLITS]:
        raise ValueError(f"{name}: {few(strange)} is none of {', '.join(SPLITS)}")
    listed: list[tuple[str, str]] = []
    for split, cases in by_split.items():
        if not isinstance(cases, Sequence) or isinstance(cases, str) or not all(isinstance(c, str) for c in cases):
            raise ValueError(f"{name}: {split} is not a list of cases")
        listed += [(case, split) for case in cases]
    if twice := [case for case, n in Counter(case for case, _ in listed).items() if n > 1]:
        raise ValueError(f"{name}: {few(twice)} stands there more than once")
    return dict(listed)
