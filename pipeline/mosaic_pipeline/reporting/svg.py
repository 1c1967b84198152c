"""Matplotlib figures as SVG inside the page: no ids that clash, colours that follow the page's theme."""

import io
import re
from collections.abc import Sized
from typing import Any

from markupsafe import Markup, escape
from matplotlib import rc_context, style
from matplotlib.figure import Figure

from mosaic_pipeline.present import present

# Okabe and Ito's palette, told apart with every common colour blindness; the page's style sheet holds a shade of each
# for light and for dark. Dashes and labels say the same without colour.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))
MARKED_ROUNDS = 20  # up to so many rounds, every one has a dot
# Stand for the colours of the page's text, rules and background.
INK, GRID, PAPER = "#123456", "#abcdef", "#fedcba"

STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the layout is the same on every machine
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
}


# Decorator of the functions that draw: a user's own matplotlibrc changes nothing.
styled = style.context(["default", STYLE])


def dots(rounds: Sized) -> dict[str, Any]:
    """Markers for rounds that are few."""
    return {"marker": "o", "markersize": 2.5} if len(rounds) <= MARKED_ROUNDS else {}


def inline_svg(figure: Figure, name: str, title: str, description: str) -> Markup:
    """Return the figure as an <svg> element for an HTML page.

    `name` is unique on the page; `title` and `description` are the text alternative. The figure must have been made
    in a function decorated with `styled`.
    """
    file = io.StringIO()
    with rc_context({"svg.hashsalt": name}):  # ids that no other figure has, and the same ones every time
        figure.savefig(file, format="svg")
    text = file.getvalue()
    view = present(re.search(r'viewBox="[^"]*"', text)).group()
    # Prolog, metadata and the style that matplotlib would give to every element of the page are left behind.
    body = re.sub(
        r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>", "", text[text.index("<metadata>") :], flags=re.S
    )
    body = body.replace("xlink:href", "href")
    body = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", body)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', body))
    body = re.sub(r' id="([^"]+)"', lambda match: match.group() if match.group(1) in used else "", body)
    for index, colour in enumerate(SERIES):
        body = body.replace(colour, f"var(--series-{index + 1})")
    body = body.replace(INK, "currentColor").replace(GRID, "var(--rule)").replace(PAPER, "var(--paper)")
    body = re.sub(r"\n\s*", "\n", body)
    return Markup(
        f'<svg {view} role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>\n{body}'
    )
