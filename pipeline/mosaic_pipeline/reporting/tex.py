"""Text in LaTeX."""

from collections.abc import Iterable, Sequence

from mosaic_pipeline.reporting.wording import MINUS

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"\ensuremath{\pm}",
    MINUS: r"\ensuremath{-}",
    "\u00a0": "~",
    "\N{EN DASH}": "--",
    "“": "``",
    "”": "''",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{character: f"{{{character}}}" for character in "[*"},  # after the end of a row they would be its arguments
}


def table(label: str, caption: str, header: Sequence[str], rows: Iterable[str]) -> str:
    r"""Return a `table` to \input into a document that uses booktabs; no other package is needed.

    The first column is of names, the others of numbers; header and rows are LaTeX, the caption is text.
    """
    lines = [
        r"% Needs \usepackage{booktabs}.",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        rf"{' & '.join(header)} \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Return text with the signs that mean something in LaTeX taken literally, on one line."""
    return "".join(SPECIAL.get(character, character) for character in text.replace("\n", " "))
