"""Labels as people write them, and as the official layout has them: class indices, or a yes or no for each label."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.own import OwnSource

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_YES_NO = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}


def class_index(text: str, classes: Sequence[str]) -> int:
    """Return which class a name is, or else an index, unless some names are numbers themselves. Raises ValueError."""
    text = text.strip()
    folded = [name.strip().casefold() for name in classes]
    index = text.removesuffix(".0")  # as pandas writes whole numbers beside an empty cell
    for name in (text.casefold(), index.casefold()):
        if name in folded:
            return folded.index(name)
    if index.isascii() and index.isdigit():
        if are_numbers(classes):
            raise ValueError(f"label {text} is none of the classes {', '.join(classes)}, whose names are numbers")
        if int(index) < len(classes):
            return int(index)
        raise ValueError(f"label {index}, but the {len(classes)} classes are 0 to {len(classes) - 1}")
    raise ValueError(f"label {text!r} is none of the classes {', '.join(classes)}" if text else "no label")


def are_numbers(classes: Sequence[str]) -> bool:
    """Whether a number is some class's name, so that as an index it could be another one's."""
    return any(_NUMBER.fullmatch(name.strip()) for name in classes)


def yes_or_no(text: str, label: str) -> int:
    """Return 1 or 0. Raises ValueError."""
    answer = _YES_NO.get(text.strip().casefold())
    if answer is None:
        raise ValueError(f"{label} is {text!r}, not 0 or 1")
    return answer


def read_labels(found: NDArray, own: OwnSource) -> NDArray[np.int64]:
    """Return labels [N,L] from an array in any of the forms that people's files have. Raises ValueError.

    [N] and [N,1], class indices or names, or one-hot rows [N,C]; of several labels [N,L]. Numbers of any type; where
    classes are called by numbers, a number is a name.
    """
    classes = len(own.classes)
    if not found.ndim:
        raise ValueError("has the form [], where there is a label for each image")
    if found.dtype.kind in "US":
        names = found.astype(str).reshape(len(found), -1)
        if own.multi_label or names.shape[1] != 1:
            raise ValueError(f"holds {found.dtype} {list(found.shape)}, not a class for each image")
        return np.array([[class_index(name, own.classes)] for name in names[:, 0].tolist()], np.int64)
    if found.dtype.kind not in "biuf":
        raise ValueError(f"holds {found.dtype}, not numbers or names of classes")
    if found.dtype.kind == "f" and not (np.isfinite(found) & (found == np.floor(found))).all():
        row = int(np.flatnonzero(~(np.isfinite(found) & (found == np.floor(found))).reshape(len(found), -1).all(1))[0])
        raise ValueError(f"row {row} is {_shown(found[row])}, not whole numbers")
    if not own.multi_label and found.size == len(found) and are_numbers(own.classes):
        return read_labels(found.astype(np.int64).astype(str), own)
    highest = 1 if own.multi_label or _one_hot(found, classes) else classes - 1
    rows = found.reshape(len(found), -1)
    if found.ndim > 2 or rows.shape[1] not in ((classes,) if own.multi_label else (1, classes)):
        wanted = f"[N,{classes}]" if own.multi_label else f"[N], [N,1] or one-hot [N,{classes}]"
        raise ValueError(f"has the form {list(found.shape)}, not {wanted}")
    if len(out := np.flatnonzero(((rows < 0) | (rows > highest)).any(axis=1))):
        hint = f"; are they counted from 1 instead of 0, to {classes}?" if _from_one(rows, classes) else ""
        raise ValueError(f"row {out[0]} is {_shown(found[out[0]])}, but labels are 0 to {highest}{hint}")
    labels = rows.astype(np.int64)
    if not own.multi_label and labels.shape[1] > 1:
        if len(wrong := np.flatnonzero(labels.sum(axis=1) != 1)):
            raise ValueError(f"row {wrong[0]} is {_shown(found[wrong[0]])}, where one-hot means a single 1")
        return labels.argmax(axis=1)[:, None]
    return labels


def check_classes(labels: NDArray[np.int64], own: OwnSource) -> None:
    """Raise ValueError if a class has no image at all, or a label no image that has it."""
    has = labels.any(axis=0) if own.multi_label else np.isin(np.arange(len(own.classes)), labels)
    if not has.all():
        missing = own.classes[int(np.argmin(has))]
        raise ValueError(f"no image at all is {missing!r}; leave it out of classes, or see how the labels were made")


def _one_hot(found: NDArray, classes: int) -> bool:
    return found.ndim == 2 and found.shape[1] == classes > 1


def _from_one(rows: NDArray, classes: int) -> bool:
    return rows.shape[1] == 1 and rows.min() == 1 and rows.max() == classes


def _shown(row: NDArray) -> str:
    return str(row.tolist())
