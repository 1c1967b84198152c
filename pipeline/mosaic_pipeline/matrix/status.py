"""How the cells of an ablation stand, by their results, by Slurm and by what their last attempts left."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mosaic_pipeline.matrix.plan import Plan
from mosaic_pipeline.matrix.records import read_record
from mosaic_pipeline.matrix.slurm import Task

State = Literal["done", "running", "waiting", "failed", "missing"]
STATES: tuple[State, ...] = ("done", "running", "waiting", "failed", "missing")


@dataclass(frozen=True)
class Standing:
    """A cell's number and name, how it stands, and what there is to say of that."""

    number: int
    cell: str
    state: State
    said: str = ""


def standings(plan: Plan, tasks: Iterable[Task]) -> list[Standing]:
    """Return how each cell stands; `tasks` are those that Slurm has in its queue."""
    results = plan.results()
    by_number = {task.number: task for task in tasks if task.number is not None}
    found = []
    for number, cell in enumerate(plan.parts.cells):
        if results.lacking(cell.stages):
            state, said = _unfinished(plan, cell.name, by_number.get(number))
        else:
            state, said = "done", ""
        found.append(Standing(number, cell.name, state, said))
    return found


def _unfinished(plan: Plan, name: str, task: Task | None) -> tuple[State, str]:
    if task:
        where = f"Slurm {task.job}_{task.number}"
        return ("waiting", f"{where}, {task.reason}") if task.waits else ("running", where)
    record = read_record(plan.folder, name)
    if record is None:
        return "missing", ""
    if not plan.is_free(f"cell-{name}"):
        return "running", f"on {record.host} since {record.since}"
    if record.state == "failed":
        return "failed", record.said
    if record.state == "running":
        return "failed", f"killed on {record.host}; it goes on from its checkpoint"
    if record.state == "stopped":
        return "missing", f"stopped on {record.host}; it goes on from its checkpoint"
    return "missing", "its results are not in DVC's cache any more"


def counted(found: Iterable[Standing]) -> str:
    """Say how many cells stand how: 3 cells: 2 done, 1 waiting."""
    found = list(found)
    counts: Mapping[str, int] = Counter(each.state for each in found)
    shown = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    return f"{len(found)} cell{'s' * (len(found) != 1)}: {shown}"
