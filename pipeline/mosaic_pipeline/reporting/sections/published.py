"""Section: published results beside ours, where they are results of the same test on the same images."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.reporting.literature import MEANS, Published
from mosaic_pipeline.reporting.means import mean_over
from mosaic_pipeline.reporting.results import METRICS, Results
from mosaic_pipeline.reporting.table import NONE, Cell, Table
from mosaic_pipeline.reporting.wording import UNDEFINED, count, percent, plural

MEAN_TITLES = {2: "mean of 2D", 3: "mean of 3D", None: "mean of all 18"}


@dataclass(frozen=True)
class Column:
    """One column: a dataset or a mean, by the name that the file of published results gives it."""

    key: str
    title: str
    datasets: tuple[str, ...]


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section; None without published results."""
    if not results.published:
        return None
    tables = [table for dimension in MEANS if (table := published_table(results, dimension))]
    return {"tables": tables, "shown": shown_sentence(results)}


def shown_sentence(results: Results) -> str:
    """How many of the published results stand beside ours, and why the others do not."""
    shown = len({id(row) for dimension in MEANS for row in _rows(results, dimension)})
    of = plural(len(results.published), "published result")
    verb = "is" if shown < 2 else "are"
    if shown == len(results.published):
        return f"All of {of} {verb} shown." if shown > 1 else f"The {of} is shown."
    return (
        f"{count(shown) if shown else 'None'} of {of} {verb} shown: those of a dataset that is ours too, at our input "
        "size, where our files are the official ones, used whole."
    )


def comparable(results: Results, dataset: str) -> bool:
    """Whether our result is of the official files, trained and tested on the whole of them."""
    origin = results.origin(dataset)
    whole = all(split.n == split.of for split in origin.splits.values())
    return origin.official and origin.source != "phantom" and whole


def input_size(results: Results, dataset: str) -> str:
    """Our source resolution as the file of published results writes it: '28', '224', '28^3', '64^3'."""
    size = results.origin(dataset).size
    return f"{size}^3" if results.dataset(dataset).dimension == 3 else str(size)


def published_table(results: Results, dimension: int | None) -> Table | None:
    """Rows: our variants, then published methods; columns: datasets of a dimension and their mean.

    Without a dimension the only column is the mean over all 18. None if no published row matches in dataset and input
    size, or ours are not comparable.
    """
    columns, rows = _columns(results, dimension), _rows(results, dimension)
    if not rows:
        return None
    columns = [column for column in columns if any(row.dataset == column.key for row in rows)]
    notes: dict[str, int] = {}
    ours = [
        [Cell(variant), *(Cell(_ours(results, variant, column)) for column in columns)]
        for variant in results.beside_main
    ]
    methods = dict.fromkeys((row.method, row.input_size) for row in rows)
    theirs = [
        _row(method, columns, [row for row in rows if (row.method, row.input_size) == (method, size)], notes)
        for method, size in methods
    ]
    where = {2: "2D", 3: "3D", None: "All 18"}[dimension]
    return Table(
        name=f"published-{dimension or 'all'}",
        caption=f"{where}, input {' or '.join(sorted({row.input_size for row in rows}))}: ACC / AUC in percent. "
        "Above the line: ours; below: as published, with sources below the table.",
        header=["Method", *(column.title for column in columns)],
        rows=[*ours, *theirs],
        separator=len(ours),
        notes=list(notes),
    )


def _rows(results: Results, dimension: int | None) -> list[Published]:
    """Published results that stand beside ours in the table of a dimension."""
    sizes, keys = _input_sizes(results, dimension), {column.key for column in _columns(results, dimension)}
    return [row for row in results.published if row.dataset in keys and row.input_size in sizes]


def _columns(results: Results, dimension: int | None) -> list[Column]:
    of_dimension = [name for name, dataset in MEDMNIST.items() if dimension in (None, dataset.dimension)]
    ours = [name for name in of_dimension if name in results.datasets and comparable(results, name)]
    columns = [] if dimension is None else [Column(name, results.title(name), (name,)) for name in ours]
    if ours == of_dimension:
        columns.append(Column(MEANS[dimension], MEAN_TITLES[dimension], tuple(ours)))
    return columns


def _input_sizes(results: Results, dimension: int | None) -> set[str]:
    """Input sizes that match ours: of the dimension, and of both for a model that is trained on both.

    Datasets of one's own, which nobody published results of, may be of any size.
    """
    names = [name for name in results.datasets if results.origin(name).source != "own"]
    sizes = {
        wanted: {input_size(results, name) for name in names if results.dataset(name).dimension == wanted}
        for wanted in (2, 3)
    }
    joint = {f"{image} / {volume}" for image in sizes[2] for volume in sizes[3]}
    return joint if dimension is None else joint | sizes.get(dimension, set())


def _ours(results: Results, variant: str, column: Column) -> str:
    means = [mean_over(results, variant, metric, column.datasets) for metric in METRICS]
    # A mean over fewer datasets than the published one would not be the same mean.
    return " / ".join(percent(mean.value) if mean.datasets == column.datasets else UNDEFINED for mean in means)


def _row(method: str, columns: list[Column], rows: list[Published], notes: dict[str, int]) -> list[Cell]:
    """Cells of one method; the source that most of them have is noted on its name, others on their cell."""
    by_key = {row.dataset: row for row in rows}
    usual = Counter(row.source for row in rows).most_common(1)[0][0]
    cells = [Cell(method, note=_note(usual, notes))]
    for column in columns:
        row = by_key.get(column.key)
        if row is None:
            cells.append(Cell(NONE))
            continue
        text = " / ".join(NONE if value is None else percent(value) for value in (row.acc, row.auc))
        cells.append(Cell(text, note=None if row.source == usual else _note(row.source, notes)))
    return cells


def _note(source: str, notes: dict[str, int]) -> int:
    return notes.setdefault(source, len(notes) + 1)
