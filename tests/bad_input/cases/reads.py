"""Files that the stages wrote themselves, or that a user gave, and that are not what they should be."""

from case import Case
from damage import missing

CASES = [
    Case(
        "train.json is gone",
        "evaluate mosaic 42 A",
        missing("runs/mosaic/42/train.json"),
        says=("runs/mosaic/42", "train.json", "dvc repro train"),
    ),
]
