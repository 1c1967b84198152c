"""The cells of an ablation: what can be worked on by itself, once the inputs of all are prepared."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.matrix.definitions import Definition

# Made of all cells together.
REPORTS = ("report", "seg_report")
# Of no cell of a training, and too much work for the machine that submits: the backbone sees every image.
RECOGNITION = ("recognise", "recognise_external")


@dataclass(frozen=True)
class Cell:
    """A name, and its stages in the order in which they run."""

    name: str
    stages: tuple[Definition, ...]

    @property
    def tunes(self) -> bool:
        """Whether it chooses the configuration that other cells train."""
        return self.stages[0].group == "tune"


@dataclass(frozen=True)
class Parts:
    """The stages of a pipeline by who runs them: once before all cells, a cell each, and once after them."""

    prepared: tuple[Definition, ...]
    cells: tuple[Cell, ...]
    reports: tuple[Definition, ...]

    def cell(self, number: int) -> Cell:
        """Return a cell by its number, from 0. Raises PipelineError if there are not so many."""
        if number not in range(len(self.cells)):
            raise PipelineError(f"cell {number}: there are {len(self.cells)}, numbered from 0 to {len(self.cells) - 1}")
        return self.cells[number]


def divide(definitions: Mapping[str, Definition], tuned: Iterable[str]) -> Parts:
    """Divide the stages of a pipeline; `tuned` are the variants whose `tune` trains, rather than passes on.

    Cells of tuning come first, since others wait for them.
    """
    tuned, cells = set(tuned), dict[str, list[Definition]]()
    prepared, reports = [], []
    for each in definitions.values():
        if each.group in REPORTS:
            reports.append(each)
        elif name := _cell_of(each, tuned):
            cells.setdefault(name, []).append(each)
        else:
            prepared.append(each)
    made = [Cell(name, tuple(stages)) for name, stages in cells.items()]
    return Parts(tuple(prepared), tuple(sorted(made, key=lambda cell: not cell.tunes)), tuple(reports))


def _cell_of(stage: Definition, tuned: set[str]) -> str | None:
    """Return the name of the cell that a stage belongs to; None for one that is prepared."""
    variant, seed = stage.matrix.get("variant"), stage.matrix.get("seed")
    if variant and seed:
        return f"{'seg.' if stage.group.startswith('seg_') else ''}{variant}-{seed}"  # no variant's name has a dot
    if stage.group == "tune" and variant in tuned:
        return f"tune.{variant}"
    return "recognition" if stage.group in RECOGNITION else None


def named(cells: Iterable[Cell]) -> str:
    """Say which cells, the first ones by name."""
    return few([cell.name for cell in cells], 5)
