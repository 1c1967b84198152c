"""Text in LaTeX."""

from pipeline.reporting.wording import MINUS

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


def escape(text: str) -> str:
    """Return text with the signs that mean something in LaTeX taken literally, on one line."""
    return "".join(SPECIAL.get(character, character) for character in text.replace("\n", " "))
