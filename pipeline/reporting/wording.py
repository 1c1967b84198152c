"""Numbers as the report writes them: fractions as percent, differences in points, what is missing in words."""

import math

UNDEFINED = "undefined"


def percent(fraction: float | None) -> str:
    """0.8416 -> '84.2'; an undefined value in words."""
    return UNDEFINED if fraction is None or math.isnan(fraction) else f"{100 * fraction:.1f}"


def with_unit(fraction: float | None) -> str:
    """0.8416 -> '84.2 %', with a space that does not break; an undefined value in words."""
    text = percent(fraction)
    return text if text == UNDEFINED else f"{text}\u00a0%"


def points(fraction: float) -> str:
    """Size of a difference between two fractions: -0.021 -> '2.1 points'."""
    return f"{100 * abs(fraction):.1f} points"


def spread(fraction: float | None, std: float | None) -> str:
    """Percent with the sample standard deviation, where there is one: '84.2 ± 0.3'."""
    return percent(fraction) if std is None else f"{percent(fraction)} ± {100 * std:.1f}"


def count(number: int) -> str:
    """12345 -> '12,345'."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """1 -> '1 seed', 3 -> '3 seeds'."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def listing(words: list[str]) -> str:
    """['a', 'b', 'c'] -> 'a, b and c'."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def plain(value: float) -> str:
    """A parameter's value without trailing zeros: 0.001 -> '0.001', 1.0 -> '1'."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else f"{value:g}"
