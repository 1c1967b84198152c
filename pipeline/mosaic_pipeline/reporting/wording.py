"""Numbers as the report writes them: fractions as percent, differences in points, what is missing in words."""

import math

UNDEFINED = "undefined"
MINUS = "\N{MINUS SIGN}"


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
    """1 -> '1 seed', 3 -> '3 seeds' or '3 classes'."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{count(number)} {noun}{'' if number == 1 else ending}"


def listing(words: list[str]) -> str:
    """['a', 'b', 'c'] -> 'a, b and c'."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def plain(value: float) -> str:
    """A parameter's value without trailing zeros: 0.001 -> '0.001', 1.0 -> '1'."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else f"{value:g}"


def signed(fraction: float | None) -> str:
    """Difference in points with its sign: -0.021 -> '−2.1', 0.0001 -> '0.0'."""
    if fraction is None or math.isnan(fraction):
        return UNDEFINED
    text = f"{100 * fraction:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", MINUS)


def bounds(interval: tuple[float, float] | None) -> str:
    """Interval of a difference in points: '−0.3 to +1.1'; an end near 0 keeps a digit, or its side would be lost."""
    return UNDEFINED if interval is None else f"{_bound(interval[0])} to {_bound(interval[1])}"


def _bound(fraction: float) -> str:
    text = signed(fraction)
    if text != "0.0":
        return text
    finer = f"{100 * fraction:+.2f}"
    return "0.0" if float(finer) == 0 else finer.replace("-", MINUS)


def range_percent(interval: tuple[float, float] | None) -> str:
    """Interval of a metric in percent: '83.1 to 85.3'."""
    return UNDEFINED if interval is None else f"{percent(interval[0])} to {percent(interval[1])}"


def tight_range(interval: tuple[float, float] | None) -> str:
    """Interval of a metric in percent where room is short: '83.1–85.3'."""
    return UNDEFINED if interval is None else f"{percent(interval[0])}\N{EN DASH}{percent(interval[1])}"


def p_value(p: float) -> str:
    """'= 0.034', '< 0.001'; four digits where three would round it onto 0.05; a nan in words."""
    if math.isnan(p):
        return UNDEFINED
    if p < 0.001:
        return "< 0.001"
    text = f"{p:.3f}"
    return f"= {p:.4f}" if text == "0.050" else f"= {text}"


def short(number: int) -> str:
    """7395570 -> '7.40 M', 124000 -> '124 k'."""
    if number >= 999_500:
        return f"{number / 1e6:.2f}\u00a0M"
    return f"{number / 1e3:.0f}\u00a0k" if number >= 1000 else str(number)
