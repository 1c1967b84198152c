"""Data in the official layout that spoil what is trained or measured on them without a sign."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from case import Case
from damage import edited_npz, set_json, without_json

Arrays = dict[str, np.ndarray]
OWN = {"data.source": "mirror", "data.mirror": "mirror", "data.verify": False}
RAW = {name: f"data/raw/{name}.npz" for name in ("retinamnist", "breastmnist", "nodulemnist3d")}
EVERYTHING = slice(None)


def spoilt(name: str, what: str, edit: Callable[[Arrays], None], *says: str, **case) -> Case:
    """A case of a raw file with other arrays, refused by the cache stage or, with status 0, warned of."""
    prefix = f"warning: {name}: " if case.get("status") == 0 else RAW[name]
    case["params"] = OWN | case.get("params", {})
    return Case(f"{name}: {what}", f"cache {name}", edited_npz(RAW[name], edit), (prefix, *says), **case)


def warned(name: str, what: str, edit: Callable[[Arrays], None], *says: str, **case) -> Case:
    """The same, accepted with a warning."""
    return spoilt(name, what, edit, *says, status=0, **case)


def copied(split: str, row: int, source: str, from_row: int) -> Callable[[Arrays], None]:
    """An image of one split in another one."""

    def edit(arrays: Arrays) -> None:
        arrays[f"{split}_images"][row] = arrays[f"{source}_images"][from_row]

    return edit


def put(key: str, where: object, value: int) -> Callable[[Arrays], None]:
    """One value in a part of an array."""

    def edit(arrays: Arrays) -> None:
        arrays[key][where] = value

    return edit


def fractions(split: str) -> Callable[[Arrays], None]:
    """Images from 0 to 1, cast to whole numbers."""

    def edit(arrays: Arrays) -> None:
        arrays[f"{split}_images"] //= 128

    return edit


def without(split: str, label: int) -> Callable[[Arrays], None]:
    """A class that becomes its neighbour."""

    def edit(arrays: Arrays) -> None:
        labels = arrays[f"{split}_labels"]
        labels[labels == label] = label - 1

    return edit


def known(name: str, part: str, text: str) -> Callable[[Path], None]:
    """Check that meta.json holds what was warned of."""

    def then(project: Path) -> None:
        assert text in (project / "data/cached" / part / name / "meta.json").read_text(encoding="utf-8")

    return then


LEAKS = {"data.allow_leakage": True}
WAY_OUT = "`data.allow_leakage: true`"

CASES = [
    spoilt(
        "breastmnist",
        "a test image is a training image",
        copied("test", 2, "train", 5),
        "1 of 7 test images is a training image too (test_images[2] is train_images[5])",
        WAY_OUT,
    ),
    spoilt(
        "nodulemnist3d",
        "a test volume is a validation volume",
        copied("test", 0, "val", 1),
        "1 of 7 test images is a validation image too (test_images[0] is val_images[1])",
        WAY_OUT,
    ),
    warned(
        "breastmnist",
        "a test image is a training image, which is allowed",
        copied("test", 2, "train", 5),
        "1 of 7 test images is a training image too",
        params=LEAKS,
        then=known("breastmnist", "test", '"in_train"'),
    ),
    warned(
        "retinamnist",
        "a validation image is a training image",
        copied("val", 3, "train", 0),
        "1 of 6 validation images is a training image too",
        then=known("retinamnist", "training", '"in_train"'),
    ),
    warned(
        "retinamnist",
        "a training image repeats",
        copied("train", 7, "train", 0),
        "1 of 8 training images repeats an earlier one",
        then=known("retinamnist", "training", '"repeated"'),
    ),
    warned(
        "nodulemnist3d",
        "a test volume repeats",
        copied("test", 6, "test", 0),
        "1 of 7 test images repeats an earlier one",
        then=known("nodulemnist3d", "test", '"repeated"'),
    ),
    warned(
        "breastmnist",
        "training images are black",
        put("train_images", slice(0, 3), 0),
        "3 of 8 training images have one value throughout",
        then=known("breastmnist", "training", '"constant"'),
    ),
    warned(
        "retinamnist",
        "a test image is white",
        put("test_images", 1, 255),
        "1 of 7 test images has one value throughout",
        then=known("retinamnist", "test", '"constant"'),
    ),
    *(
        spoilt(
            "breastmnist",
            f"all of {split}_images is black",
            put(f"{split}_images", EVERYTHING, 0),
            f"every image in {split}_images has one value throughout",
            "check how the images were made",
            params=LEAKS,
        )
        for split in ("train", "val", "test")
    ),
    *(
        warned(
            "nodulemnist3d",
            f"the {title} images were fractions",
            fractions(split),
            f"no value of the {title} images is above 1 of 255",
            params=LEAKS,
            then=known("nodulemnist3d", part, '"dim"'),
        )
        for split, title, part in (("train", "training", "training"), ("test", "test", "test"))
    ),
    warned(
        "retinamnist",
        "a class has no training image",
        without("train", 4),
        "no training image is “4”, which cannot be learnt",
        then=known("retinamnist", "training", '"absent"'),
    ),
    warned(
        "retinamnist",
        "a class has no validation image",
        without("val", 2),
        "no validation image is “2”, so that the validation AUC is undefined",
        then=known("retinamnist", "training", '"absent"'),
    ),
    warned(
        "breastmnist",
        "the test images are of one class",
        put("test_labels", EVERYTHING, 1),
        "no test image is “malignant”, so that the test AUC is undefined",
        then=known("breastmnist", "test", '"absent"'),
    ),
    spoilt(
        "breastmnist",
        "the training images are of one class",
        put("train_labels", EVERYTHING, 1),
        "all 8 training images have the same class (train_labels is 1 throughout)",
        "check how the labels were made",
    ),
    *(
        Case(
            f"data.mirror is given, but data.source is {source}",
            f"download {next(iter(RAW))}",
            says=(f"data.mirror: given, but source is {source}", "source must be mirror"),
            params={"data.source": source, "data.mirror": "folder"},
        )
        for source in ("phantom", "zenodo")
    ),
    Case(
        "a finding of meta.json is gone",
        "evaluate mosaic 42 B",
        without_json("data/cached/training/breastmnist/meta.json", "findings"),
        ("data/cached/training/breastmnist/meta.json", "findings", "dvc repro"),
    ),
    *(
        Case(
            f"an evaluation holds a finding of {what}",
            "report",
            set_json("evaluation/mosaic/42/B.json", "datasets.breastmnist.data.findings", [finding]),
            ("evaluation/mosaic/42/B.json", "findings", "dvc repro"),
        )
        for what, finding in (
            ("a class that there is not", {"kind": "absent", "split": "val", "classes": [2]}),
            ("a kind that there is not", {"kind": "blurred", "split": "val", "images": 1}),
            ("a split that there is not", {"kind": "constant", "split": "dev", "images": 1}),
        )
    ),
    Case(
        "train.class_weights is no kind",
        "configure mosaic",
        says=("train.class_weights = 'inverse'", "should be 'none' or 'balanced'"),
        params={"train.class_weights": "inverse"},
    ),
    Case(
        "data.allow_leakage is a word",
        "cache retinamnist",
        says=("data.allow_leakage = 'perhaps'", "should be a valid boolean"),
        params={"data.allow_leakage": "perhaps"},
    ),
]
