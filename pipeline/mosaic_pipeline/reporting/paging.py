"""Which variants are shown one by one on which page: one page cannot show hundreds."""

from collections.abc import Mapping, Sequence
from typing import Any

# Figures, maps and columns of a variant are some 30 to 100 kilobytes; so many variants still can be compared by eye.
PAGE = 24


def pages(variants: Sequence[str], first: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the variants of each page: all on one where they fit, else those of `first` and others on the first.

    The other pages have the main variant, `variants[0]`, to compare with, beside those that are named.
    """
    if len(variants) <= PAGE:
        return [tuple(variants)]
    ordered = [*first, *(variant for variant in variants if variant not in first)]
    size, rest = PAGE - 1, ordered[PAGE:]
    return [tuple(ordered[:PAGE]), *(tuple(rest[place : place + size]) for place in range(0, len(rest), size))]


def further(shown: Sequence[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the variants of each page but the first, by its file's name."""
    return {f"variants-{number}.html": names for number, names in enumerate(shown[1:], 2)}


def framed(pages: Mapping[str, tuple[str, ...]], file: str, first: tuple[str, str]) -> dict[str, Any]:
    """Return what a further page says of itself: heading, place, and links to `first` (file, title) and the others."""
    return {
        "heading": span(pages[file]),
        "first_page": first[0],
        "page": 2 + list(pages).index(file),
        "of": 1 + len(pages),
        "pages": [first, *((other, span(names)) for other, names in pages.items() if other != file)],
    }


def span(names: Sequence[str]) -> str:
    """Say which variants a page is of."""
    return f"Variants {names[0]} to {names[-1]}" if len(names) > 1 else f"Variant {names[0]}"
