"""A table as data, for HTML and Markdown alike."""

from dataclasses import dataclass, field

NONE = "\N{EN DASH}"
# Headings of numbers of which less is better.
LOW_IS_BETTER = ("Trainable", "p")


@dataclass(frozen=True)
class Cell:
    """One cell: its text, and a smaller line below it; `best` among comparable ones.

    `note` is the number of a footnote; `order` is what a column is sorted by where the text would not do.
    """

    text: str
    best: bool = False
    note: int | None = None
    below: str = ""
    order: float | None = None


@dataclass(frozen=True)
class Table:
    """A table whose rows begin with a heading cell.

    `spans` are (heading, number of columns) above `header`, where columns belong together. `text_columns` are the
    columns (from 1) that hold words and align left; rows from `separator` on are references, not results. The page's
    script lets readers sort a `sortable` table by a column.
    """

    name: str
    caption: str
    header: list[str]
    rows: list[list[Cell]]
    spans: list[tuple[str, int]] = field(default_factory=list)
    text_columns: tuple[int, ...] = ()
    separator: int | None = None
    notes: list[str] = field(default_factory=list)
    sortable: bool = False

    def first_click(self, column: int) -> str:
        """How a first click sorts a column (from 0): best numbers on top, words from A to Z."""
        up = column == 0 or column in self.text_columns or self.header[column] in LOW_IS_BETTER
        return "ascending" if up else "descending"


def markdown(table: Table) -> str:
    """Return a table in GitHub's Markdown; a spanning heading is written before each of its columns' own."""
    spans = [span for span, width in table.spans for _ in range(width)] or [""] * len(table.header)
    header = [f"{span} {title}".strip() for span, title in zip(spans, table.header, strict=True)]
    left = {0, *table.text_columns}
    rule = ["---" if column in left else "---:" for column in range(len(header))]
    rows = [[_markdown_cell(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [[escape(title) for title in header], rule, *rows])


def _markdown_cell(cell: Cell) -> str:
    text = f"**{escape(cell.text)}**" if cell.best else escape(cell.text)
    return f"{text} ({escape(cell.below)})" if cell.below else text


def escape(text: str) -> str:
    """Return text with the signs that mean something in GitHub's Markdown taken literally."""
    for character in "\\|*_<>`[]~":
        text = text.replace(character, f"\\{character}")
    # GitHub looks for @names, #numbers and $formulas$ after backslashes are gone; an element in between hides them.
    for character in "@#$":
        text = text.replace(character, f"<span>{character}</span>")
    return text
