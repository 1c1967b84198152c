"""One image or volume as its file has it, before it is made as all others are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.reading import reason

# Of one image or volume. What is larger is a slide to be cut into images, or a file made to fill memory.
MOST_PIXELS = 1 << 28

CLEAR = "is transparent in places (an alpha channel or colour), which says no grey or colour"

# By which fractions may miss 0 and 1, for having been computed.
_ROUNDING = 1e-6

_LARGEST = {"b": 1, "u1": 255, "u2": 65535}


@dataclass(frozen=True)
class Picture:
    """Values [H,W], [H,W,C] or [D,H,W], and what is known of them.

    `spacing` is the physical size of a pixel along each axis, in any unit; `span` the smallest and the largest value
    that the file can hold, None if that says nothing; `inverted` if the largest is black. `facts` are what happened on
    the way, in the words that `Notes` counts; `patient` is whose it is, if the file says that.
    """

    values: NDArray
    spacing: tuple[float, ...]
    span: tuple[float, float] | None
    inverted: bool = False
    facts: tuple[str, ...] = ()
    patient: str | None = None


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn whatever reading raises into a PipelineError: `what` was read, and why it cannot be.

    The body must do nothing but read and check: a full disk is not the fault of what is read.
    """
    try:
        yield
    except (PipelineError, MemoryError):
        raise
    except Exception as error:
        raise PipelineError(f"{what}: {reason(error)}") from None


def check_size(shape: tuple[int, ...]) -> None:
    """Raise ValueError for an image that has no pixel, or too many to be one."""
    if not prod(shape):
        raise ValueError(f"{shown(shape)}, without a pixel")
    if prod(shape) > MOST_PIXELS:
        raise ValueError(f"{shown(shape)} are more than {MOST_PIXELS:,} pixels; cut or reduce it before")


def shown(shape: tuple[int, ...]) -> str:
    """Return a size in the words of notes and errors."""
    return " x ".join(f"{length:,}" for length in shape)


def whole_span(values: NDArray) -> tuple[float, float] | None:
    """Return what values of this type range over: fractions from 0 to 1, small unsigned numbers whole; else None."""
    if values.dtype.kind == "f":
        missed = max(_ROUNDING, float(np.finfo(values.dtype).eps))
        return (0.0, 1.0) if values.min() >= -missed and values.max() <= 1 + missed else None
    largest = _LARGEST.get(values.dtype.str[1:]) or _LARGEST.get(values.dtype.kind)
    return None if largest is None else (0.0, float(largest))


def check_values(values: NDArray) -> None:
    """Raise ValueError for values that are no real, finite numbers."""
    if values.dtype.kind not in "biuf":
        raise ValueError(f"holds {values.dtype}, not numbers")
    if values.dtype.kind == "f" and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise ValueError("holds NaN or infinite values")


def with_channels(values: NDArray, dimension: int, channels: int) -> tuple[NDArray, tuple[str, ...]]:
    """Return values with the channels that a dataset has, from channels in any place, and what happened to them.

    Raises ValueError for channels that would have to be thrown away or mixed.
    """
    facts: list[str] = []
    if values.ndim == dimension + 1:
        if values.shape[-1] > 4 and values.shape[0] <= 4:
            values = np.moveaxis(values, 0, -1)
        if values.shape[-1] in (2, 4):
            values = _without_alpha(values)
            facts.append("Opaque alpha channel left out")
        if values.shape[-1] == 1:
            values = values[..., 0]
    if values.ndim == dimension + 1 and values.shape[-1] == 3 and channels == 1:
        if not ((values[..., 0] == values[..., 1]) & (values[..., 0] == values[..., 2])).all():
            raise ValueError("has colours (three channels that differ), but channels is 1")
        values = values[..., 0]
        facts.append("Three equal channels read as one")
    elif values.ndim == dimension and channels == 3:
        values = np.stack([values] * 3, axis=-1)
        facts.append("Grey, repeated over three channels")
    if values.ndim != dimension + (channels == 3) or values.shape[dimension:] not in ((), (3,)):
        raise ValueError(f"has the form {list(values.shape)}, but dimension is {dimension} and channels is {channels}")
    return values, tuple(facts)


def _without_alpha(values: NDArray) -> NDArray:
    full = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    if (values[..., -1] != full).any():
        raise ValueError(CLEAR)
    return values[..., :-1]
