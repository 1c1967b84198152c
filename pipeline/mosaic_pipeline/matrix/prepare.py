"""The inputs of all cells: datasets, weights and configurations, made once, in a clone that stays."""

import json
from collections.abc import Mapping
from typing import Any

from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.matrix.clones import clone, keep_commit, run_stages
from mosaic_pipeline.matrix.definitions import DVC_YAML, Definition
from mosaic_pipeline.matrix.plan import PREPARED, Plan, read_lock
from mosaic_pipeline.provenance.lock import LOCK


def make_inputs(plan: Plan) -> None:
    """Make the inputs of all cells, unless that was done; one process at a time.

    Raises PipelineError if a stage fails, or what it once made is in DVC's cache no more.
    """
    with plan.exclusive("prepare", "another process prepares the inputs; waiting for that"):
        if not plan.prepared.exists():
            (plan.folder / PREPARED).unlink(missing_ok=True)
            keep_commit(plan)
            clone(plan, plan.root, plan.prepared)
        if (plan.folder / PREPARED).exists():
            return
        names = [each.name for each in plan.parts.prepared]
        print(f"preparing {len(names)} stages of commit {plan.revision[:12]} in {plan.prepared}", flush=True)
        made = [name for name in names if name in read_lock(plan.prepared / LOCK)]
        # What only these stages read, such as files of downloads, may be missing once it has served.
        status, said = run_stages(plan, plan.prepared, made, names, "--allow-missing")
        if status:
            raise PipelineError(f"the inputs could not be prepared: {said}")
        _check_cached(plan)
        write_text(plan.folder / PREPARED, json.dumps(_folders(plan), indent=2) + "\n")


def _readers(plan: Plan) -> dict[str, Definition]:
    """Return what is read by cells and reports, and for each a stage that reads it."""
    stages = [*(stage for cell in plan.parts.cells for stage in cell.stages), *plan.parts.reports]
    return {dep: stage for stage in stages for dep in stage.deps}


def _check_cached(plan: Plan) -> None:
    """Raise PipelineError if what a cell reads is not in the cache, though dvc.lock knows it."""
    read, results = _readers(plan), plan.results_of({})
    for stage in plan.parts.prepared:
        needed = any(out == dep or out.startswith(f"{dep}/") for out in stage.outs for dep in read)
        if needed and not results.is_cached(stage):
            raise PipelineError(
                f"{few(stage.outs)}: not in the cache {plan.cache}, though dvc.lock knows it; `dvc fetch {stage.name}` "
                f"brings it from a remote, `dvc repro -f {stage.name}` makes it anew"
            )


def _folders(plan: Plan) -> dict[str, Mapping[str, Any]]:
    """Return the md5s of folders that cells read as a whole and several stages wrote, by DVC."""
    from dvc.repo import Repo

    written = {out for each in plan.parts.prepared for out in each.outs}
    found: dict[str, Mapping[str, Any]] = {}
    with Repo(str(plan.prepared)) as repo, repo.lock:
        for path, stage in _readers(plan).items():
            if path not in written and any(out.startswith(f"{path}/") for out in written):
                reader = repo.stage.load_one(path=str(plan.prepared / DVC_YAML), name=stage.name)
                dep = next(each for each in reader.deps if each.def_path == path)
                dep.save()
                found[path] = {"md5": dep.hash_info.value, "size": dep.meta.size, "nfiles": dep.meta.nfiles}
    return found
