"""What variants were run with: the settings that all share, and those in which they differ."""

from collections.abc import Mapping
from typing import Any

from mosaic_pipeline.reporting.table import Cell, Table
from mosaic_pipeline.reporting.wording import plain


def compare_settings(
    trees: Mapping[str, dict[str, Any]], titles: Mapping[str, str]
) -> tuple[list[tuple[str, str]], Table | None]:
    """Settings that all variants share as (name, value), and a table of those that differ; None if none does.

    `trees` are nested settings by variant, of which None is not used; `titles` say what dotted keys are called.
    """
    flat = {
        variant: {key: _value(value) for key, value in _leaves(tree) if value is not None}
        for variant, tree in trees.items()
    }
    keys = dict.fromkeys(key for tree in flat.values() for key in tree)
    shared, columns = [], {}
    for key in keys:
        title = titles.get(key, key)
        values = [tree.get(key, "not used") for tree in flat.values()]
        if len(set(values)) == 1:
            shared.append((title, values[0]))
        else:
            columns[title] = values
    differing = Table(
        name="differing",
        caption="Settings in which the variants differ.",
        header=["Variant", *columns],
        rows=[[Cell(variant), *(Cell(values[row]) for values in columns.values())] for row, variant in enumerate(flat)],
        text_columns=tuple(range(1, len(columns) + 1)),
    )
    return shared, differing if columns else None


def _leaves(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves = []
    for key, value in tree.items():
        leaves += _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return leaves


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return plain(value) if isinstance(value, int | float) else str(value)


def short_revision(revision: str) -> str:
    """Ten digits of a git hash, and what is said after it."""
    digits, dash, state = revision.partition("-")
    return digits[:10] + dash + state
