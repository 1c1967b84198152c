"""Datasets of one's own: declarations that are none, and files that are not what was declared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from case import Case
from finished import run_stage

MINE = {
    "title": "Mine",
    "dimension": 2,
    "channels": 1,
    "task": "binary-class",
    "classes": ["no", "yes"],
    "specialist": "B",
    "licence": "CC0",
    "path": "mine",
    "kind": "csv",
}
AMONG = ["retinamnist", "breastmnist", "nodulemnist3d", "mine"]


def params(name: str = "mine", **changes: Any) -> dict[str, Any]:
    """Values by dotted key that declare a dataset, without the keys that are None."""
    declared = {key: value for key, value in (MINE | changes).items() if value is not None}
    return {"data.own": {name: declared}}


def declared(what: str, *says: str, **changes: Any) -> Case:
    """A declaration that is refused before anything is read."""
    return Case(f"declared: {what}", "declare", says=("params.yaml: data.own.mine", *says), params=params(**changes))


def read(what: str, damage: Callable[[Path], object], *says: str, **changes: Any) -> Case:
    """Files that the download stage refuses."""

    def prepare(project: Path) -> None:
        folder = project / "mine"
        folder.mkdir()
        for index, image in enumerate(np.random.default_rng(0).integers(0, 256, (12, 9, 9), dtype=np.uint8)):
            np.save(folder / f"{index}.npy", image)
        rows = "".join(f"{index}.npy,{('no', 'yes')[index % 2]}\n" for index in range(12))
        (folder / "labels.csv").write_text(f"file,label\n{rows}")
        damage(folder)
        ended = run_stage(project, "declare")
        assert ended.status == 0, ended.stderr

    named = params(**changes) | {"data.datasets": AMONG}
    return Case(f"read: {what}", "download mine", prepare, ("data.own.mine", *says), params=named)


def nothing(folder: Path) -> None:
    """Leave the files as they are."""


def edited(old: str, new: str) -> Callable[[Path], object]:
    """The CSV with another text in it."""

    def damage(folder: Path) -> None:
        text = (folder / "labels.csv").read_text()
        assert old in text
        (folder / "labels.csv").write_text(text.replace(old, new))

    return damage


CASES = (
    declared("a key too many", "unknown key; did you mean title?", titel="Mine"),
    declared("no licence", ".licence: missing", licence=None),
    declared("four dimensions", ".dimension = 4", dimension=4),
    declared("two channels", ".channels = 2", channels=2),
    declared("an unknown task", ".task = 'regression'", task="regression"),
    declared("one class", ".classes", classes=["no"]),
    declared("a class twice", "classes: no stands there more than once", classes=["no", "no"]),
    declared("three classes of two", "3 of them, but task is binary-class", classes=["a", "b", "c"]),
    declared("a specialist that is none", "specialist", "B, C", specialist="E"),
    declared("a specialist in lower case", "specialist = 'b'", "a capital letter", specialist="b"),
    declared("an unknown kind", ".kind = 'tar'", kind="tar"),
    declared("colours in volumes", "volumes have one channel", dimension=3, channels=3),
    declared("a window of one number", ".window", "two numbers [low, high], or each, or null", window=[3]),
    declared("a window upside down", "window: 9 must be below 3", window=[9, 3]),
    declared("an unknown key of columns", ".columns.labels: unknown key; did you mean label?", columns={"labels": "a"}),
    declared("shares that leave nothing", "must leave at least 0.1 to train", split={"val": 0.5, "test": 0.5}),
    declared("a size that is none", ".size = 0", size=0),
    declared("several labels in folders", "a folder is one class", task="multi-label, binary-class", kind="folders"),
    Case(
        "declared: a name of MedMNIST's",
        "declare",
        says=("params.yaml: data.own: retinamnist is one of MedMNIST's datasets",),
        params=params("retinamnist"),
    ),
    Case(
        "declared: a name with a path in it",
        "declare",
        says=("params.yaml: data.own", "../mine", "lower case"),
        params=params("../mine"),
    ),
    Case(
        "declared: a name that is not in data.own",
        "declare",
        says=("params.yaml: data.datasets: mein", "did you mean mine?"),
        params=params() | {"data.datasets": ["retinamnist", "mein"]},
    ),
    read("no such folder", nothing, "elsewhere: no such file", path="elsewhere"),
    read("a folder that should be a file", nothing, "a folder, but kind is npz", kind="npz"),
    read("an unknown class", edited("3.npy,yes", "3.npy,yse"), "labels.csv, line 5: label 'yse' is none of", "no, yes"),
    read("a file that is not there", edited("3.npy", "13.npy"), "labels.csv, line 5: 13.npy: no such file"),
    read("a damaged image", lambda folder: (folder / "3.npy").write_bytes(b""), "3.npy (labels.csv, line 5): not an"),
    read(
        "files in place of folders", nothing, "0.npy is a file, where there is a folder for each class", kind="folders"
    ),
    read("numbers without black and white", lambda folder: np.save(folder / "3.npy", np.ones((9, 9)) * 7), "window"),
    Case(
        "read: files that are all right",
        "download mine",
        read("", nothing).damage,
        ("Split drawn by image", "From 9 x 9 pixels to 28 x 28; enlarged along a side: all 12."),
        status=0,
        params=params() | {"data.datasets": AMONG},
    ),
)
