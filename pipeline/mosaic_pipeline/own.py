"""A dataset of one's own, as `data.own` in params.yaml declares it: what it is, where it lies and how it is read."""

import os
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from mosaic_pipeline.datasets import Task
from mosaic_pipeline.fields import Number, Positive, Section, Seed, Text, distinct, no_bool, written_as

Letter = Annotated[str, written_as("[A-Z]", "a capital letter, one of `specialists`")]
# Every image of this size is kept; a volume of 256 is 17 MB.
Side = Annotated[int, BeforeValidator(no_bool), Field(ge=8, le=1024)]
LARGEST_VOLUME = 256


def _name(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a name; YAML takes yes, no, true and false for something else without quotes")
    return str(value) if isinstance(value, int) else value


def _window(value: Any) -> Any:
    if value in (None, "each") or (isinstance(value, list | tuple) and len(value) == 2):
        return value
    raise ValueError("should be two numbers [low, high], or each, or null")


def _names(value: Any) -> Any:
    if value is None or isinstance(value, str | list | tuple):
        return value
    raise ValueError("should be the name of a column, or a list of names")


class Columns(Section):
    """Which columns of the CSV say what.

    `label`: the class of an image, by name or index; of several labels a column each, None those of the classes'
    names, with 0 or 1. `split` and `patient`: None is the column of that name, if the CSV has one, "" is none. Without
    patients there, those of DICOM files are taken; "" takes none.
    """

    file: Text = "file"
    label: Annotated[Text | tuple[Text, ...] | None, BeforeValidator(_names)] = None
    split: Text | Literal[""] | None = None
    patient: Text | Literal[""] | None = None


class Drawn(Section):
    """The split that is drawn where none is given: by which seed, and which shares validation and test have."""

    seed: Seed = 0
    val: Annotated[Positive, Field(lt=1)] = 0.1
    test: Annotated[Positive, Field(lt=1)] = 0.2

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.val + self.test > 0.9:
            raise ValueError(f"val: {self.val:g} and test {self.test:g} must leave at least 0.1 to train")
        return self


class OwnSource(Section):
    """What the images and labels of one dataset depend on, and nothing else: another title reads nothing again.

    `classes` are names in the order of the label values (of the label columns where there are several labels). `path`
    is an npz file or a folder; `csv` a file in it, for `kind: csv`. `size` is pixels or voxels a side of what is kept,
    None that of data.size_2d or data.size_3d. `fit` says what becomes of an image that is not square, `window` which
    values become 0 and 255: None all that the files can hold, `each` an image's own range without its outermost 0.5 %
    on either side.
    """

    dimension: Literal[2, 3]
    channels: Literal[1, 3]
    task: Task
    classes: Annotated[tuple[Annotated[Text, BeforeValidator(_name)], ...], Field(min_length=2)]
    path: Text
    kind: Literal["npz", "csv", "folders"]
    csv: Text = "labels.csv"
    columns: Columns = Columns()
    size: Side | None = None
    fit: Literal["pad", "stretch", "crop"] = "pad"
    window: Annotated[tuple[Number, Number] | Literal["each"] | None, BeforeValidator(_window)] = None
    split: Drawn = Drawn()
    sided: bool = False
    allow_leakage: bool = False

    @property
    def multi_label(self) -> bool:
        """Whether one image carries several yes/no labels."""
        return self.task == "multi-label, binary-class"

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Columns of the CSV that hold the label, or the labels."""
        label = self.columns.label or (self.classes if self.multi_label else "label")
        return (label,) if isinstance(label, str) else label

    @property
    def files(self) -> tuple[str, ...]:
        """The path, and the CSV that says which files below it are meant."""
        path = os.path.normpath(os.path.expanduser(self.path))  # noqa: PTH111 (as layout.from_root)
        return (path, os.path.normpath(self.csv)) if self.kind == "csv" else (path,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        distinct("classes", self.classes)
        folded = [name.strip().casefold() for name in self.classes]
        for name in self.classes:
            if folded.count(name.strip().casefold()) > 1:
                raise ValueError(f"classes: {name!r} differs from another one in capitals or spaces only")
        if self.task == "binary-class" and len(self.classes) != 2:
            raise ValueError(f"classes: {len(self.classes)} of them, but task is binary-class, which has two")
        if self.dimension == 3 and self.channels == 3:
            raise ValueError("channels: 3, but volumes have one channel")
        if self.dimension == 3 and self.size and self.size > LARGEST_VOLUME:
            raise ValueError(f"size: {self.size} voxels a side, but volumes may have at most {LARGEST_VOLUME}")
        if self.multi_label and self.kind == "folders":
            raise ValueError("kind: a folder is one class, but task has several labels for an image; use csv or npz")
        wanted = len(self.classes) if self.multi_label else 1
        if self.kind == "csv" and len(self.label_columns) != wanted:
            raise ValueError(f"columns.label: {len(self.label_columns)} columns, but task {self.task} needs {wanted}")
        columns = [self.columns.file, *self.label_columns, self.columns.split, self.columns.patient]
        distinct("columns", tuple(column for column in columns if column))
        if isinstance(self.window, tuple) and self.window[0] >= self.window[1]:
            raise ValueError(f"window: {self.window[0]:g} must be below {self.window[1]:g}")
        return self


class Own(OwnSource):
    """One dataset: its source, what it is called, the specialist it is routed to, and the licence of its images."""

    title: Text
    specialist: Letter
    licence: Text

    def source(self) -> dict[str, Any]:
        """Return what its images and labels depend on."""
        return self.model_dump(mode="json", include=set(OwnSource.model_fields))
