"""Values that are there, where their type alone does not say so."""

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """Return a value that is not None: a validator, or who calls, has made sure of it."""
    assert value is not None
    return value


def all_present(values: Iterable[T | None]) -> list[T]:
    """Return values none of which is None."""
    return [present(value) for value in values]
