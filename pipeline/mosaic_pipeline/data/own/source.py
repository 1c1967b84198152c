"""What a reader returns: the cases of a dataset, and their images in the same order, one at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

from mosaic_pipeline.data.own.picture import Picture


@dataclass(frozen=True)
class Case:
    """One image: what is said of it but for its pixels.

    `place` is what errors call it. `name` is its own in the dataset, by which a split is drawn. `label` holds a class
    index, or a yes or no for each label. `split` and `patient` are None where nobody says.
    """

    place: str
    name: str
    label: tuple[int, ...]
    split: str | None = None
    patient: str | None = None


@dataclass(frozen=True)
class Source:
    """All cases, and their pictures, which are read while they are asked for.

    `notes` are sentences on how the cases were read.
    """

    cases: list[Case]
    pictures: Iterator[Picture]
    notes: tuple[str, ...] = ()
