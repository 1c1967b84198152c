"""Files that the stages wrote themselves, or that a user gave, and that are not what they should be."""

from case import Case
from damage import empty, folder

CASES = [
    Case(
        "train.json is a folder",
        "evaluate mosaic 42 A",
        folder("runs/mosaic/42/train.json"),
        says=("runs/mosaic/42/train.json", "dvc repro"),
    ),
    Case(
        "train.json is empty",
        "evaluate mosaic 42 A",
        empty("runs/mosaic/42/train.json"),
        says=("runs/mosaic/42/train.json", "dvc repro"),
    ),
]
