"""Working on one cell: in a clone of its own that is thrown away, whatever happens."""

from mosaic_pipeline.command import Terminated
from mosaic_pipeline.errors import PipelineError, few, one_line
from mosaic_pipeline.matrix.cells import Cell
from mosaic_pipeline.matrix.clones import run_stages, throwaway
from mosaic_pipeline.matrix.lockfile import write_lock
from mosaic_pipeline.matrix.plan import Plan
from mosaic_pipeline.matrix.records import Record, write_record
from mosaic_pipeline.matrix.results import Results
from mosaic_pipeline.provenance.lock import LOCK


def run_cell(plan: Plan, cell: Cell) -> None:
    """Bring a cell up to date: what it lacks is run, what others made of the same inputs is taken.

    Raises PipelineError with the reason if a stage fails, and what a signal stands for if one came; the next attempt
    continues from the last checkpoint, in the same MLflow run.
    """
    with plan.exclusive(f"cell-{cell.name}", f"{cell.name}: another process works on it; waiting for that"):
        results = plan.results()
        lacking = results.lacking(cell.stages)
        if not lacking:
            print(f"{cell.name}: there already")
            return
        _check_tuned(plan, cell, results)
        write_record(plan.folder, cell.name, Record.now("running"))
        try:
            with throwaway(plan, f"cell-{cell.name}") as clone:
                made = _needed(cell, results)
                write_lock(clone / LOCK, {name: results.entries[name] for name in made})
                status, said = run_stages(plan, clone, made, lacking)
        except (Terminated, KeyboardInterrupt):
            write_record(plan.folder, cell.name, Record.now("stopped", "stopped by a signal"))
            raise
        except Exception as error:
            write_record(plan.folder, cell.name, Record.now("failed", one_line(str(error))))
            raise
        left = plan.results().lacking(cell.stages)
        if status or left:
            said = said if status else f"{few(left)}: ran, and its results are not in DVC's cache"
            write_record(plan.folder, cell.name, Record.now("failed", said))
            raise PipelineError(f"{cell.name}: {said}")
        write_record(plan.folder, cell.name, Record.now("done"))
        print(f"{cell.name}: done")


def _needed(cell: Cell, results: Results) -> list[str]:
    """Return the stages whose results a cell's stages read, as far as they are made, in their order."""
    read = {dep for stage in cell.stages for dep in stage.deps}
    own = {stage.name for stage in cell.stages}

    def is_read(path: str) -> bool:
        return path in read or any(path.startswith(f"{dep}/") for dep in read)

    return [
        name
        for name, entry in results.entries.items()
        if name in own or any(is_read(out["path"]) for out in entry.get("outs", ()))
    ]


def _check_tuned(plan: Plan, cell: Cell, results: Results) -> None:
    """Raise PipelineError if the configuration that a cell trains is still to be chosen."""
    read = {dep for stage in cell.stages for dep in stage.deps}
    for other in plan.parts.cells:
        waits = other.tunes and not cell.tunes and any(out in read for stage in other.stages for out in stage.outs)
        if waits and not all(stage.name in results.entries for stage in other.stages):
            raise PipelineError(f"{cell.name}: {other.name} is not done, which chooses what is trained here")
