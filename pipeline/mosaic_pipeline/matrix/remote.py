"""Results by way of DVC's remote, where machines share no folder.

DVC itself pushes and pulls the records of its run cache, but of the files that they name only those of the dvc.lock
that is checked out.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.matrix.cells import Cell
from mosaic_pipeline.matrix.definitions import Definition
from mosaic_pipeline.matrix.plan import Plan


def push(plan: Plan, cell: Cell) -> None:
    """Send what a cell came to, the records last. Raises PipelineError if the remote does not take it."""
    results = plan.results()
    results.lacking(cell.stages)
    with _remote(plan) as repo:
        if failed := repo.cloud.push(_hashes(results.files(cell.stages))).failed:
            raise PipelineError(
                f"{cell.name}: {len(failed)} files did not reach DVC's remote, so its records stay here too"
            )
        repo.stage_cache.push(None)


def pull(plan: Plan) -> None:
    """Bring what the remote knows of all cells: the records, and the files that they name.

    Raises PipelineError if there is no remote, or it does not answer.
    """
    with _remote(plan) as repo:
        repo.stage_cache.pull(None)
        asked: set[str] = set()
        # The list of a folder says which files are still to come.
        while lacking := set(plan.results().uncached(_stages(plan))) - asked:
            repo.cloud.pull(_hashes(lacking))
            asked |= lacking


def _stages(plan: Plan) -> Iterator[Definition]:
    return (stage for cell in plan.parts.cells for stage in cell.stages)


def _hashes(md5s: Iterable[str]) -> list[Any]:
    from dvc_data.hashfile.hash_info import HashInfo

    return [HashInfo("md5", md5) for md5 in md5s]


@contextmanager
def _remote(plan: Plan) -> Iterator[Any]:
    """Yield the main checkout as DVC has it; what goes wrong with its remote is one line."""
    from dvc.repo import Repo

    try:
        with Repo(str(plan.root)) as repo:
            yield repo
    except PipelineError:
        raise
    except Exception as error:  # each kind of remote has errors of its own
        raise PipelineError(f"DVC's remote: {error}; `dvc remote list` names it, docs/group.md sets one up") from None
