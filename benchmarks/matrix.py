"""What it costs to know how an ablation stands: the stages of many cells, by `mosaic_pipeline.matrix` and by DVC."""

import hashlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.result import Result
from mosaic_pipeline.matrix.cells import divide
from mosaic_pipeline.matrix.definitions import Definition, read_definitions
from mosaic_pipeline.matrix.lockfile import write_lock
from mosaic_pipeline.matrix.results import Entry, Results

ROOT = Path(__file__).parents[1]
LARGEST_REWRITTEN = 700  # stages; more take DVC minutes


def run(variants: int, seeds: int) -> Result:
    """Measure CPU seconds of one process, once, with records of all stages made up."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write_project(folder, variants, seeds)
        row: dict[str, Any] = {"variants": variants, "seeds": seeds}

        def timed(what: str, work: Callable[[], Any]) -> Any:
            started = time.process_time()
            made = work()
            row[f"{what}, CPU s"] = time.process_time() - started
            return made

        definitions = timed("stages of dvc.yaml", lambda: read_definitions(folder))
        parts = divide(definitions, ())
        row |= {"cells": len(parts.cells), "stages": len(definitions)}
        entries = _write_results(folder / "cache", parts.prepared, [s for cell in parts.cells for s in cell.stages])
        folders = {path: _fake(path) for stage in definitions.values() for path in stage.deps}
        prepared = {each.name: entries[each.name] for each in parts.prepared}
        results = Results(folder / "cache", prepared, folders)
        lacking = timed("which cells are done", lambda: [c for c in parts.cells if results.lacking(c.stages)])
        assert not lacking
        timed("dvc.lock written", lambda: write_lock(folder / "dvc.lock", results.entries))
        row["dvc.lock, MB"] = (folder / "dvc.lock").stat().st_size / 1e6
        _measure_dvc(folder, timed, rewrite=len(definitions) <= LARGEST_REWRITTEN)
    return Result("matrix", [row], ["One run; records of the run cache, and files that they name, are made up."])


def _write_project(folder: Path, variants: int, seeds: int) -> None:
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())
    tree["ablation"]["variants"] = {f"v{number}": {"why": "any"} for number in range(variants)}
    tree["ablation"] |= {"run": list(tree["ablation"]["variants"]), "analyse": []}
    tree["seeds"] = list(range(seeds))
    tree["segmentation"]["ablation"] |= {"run": [], "analyse": []}
    (folder / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    shutil.copy(ROOT / "dvc.yaml", folder)
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)


def _fake(path: str) -> dict[str, Any]:
    return {"md5": hashlib.md5(path.encode()).hexdigest(), "size": 1}


def _write_results(cache: Path, prepared: tuple[Definition, ...], run: list[Definition]) -> dict[str, Entry]:
    """Write a record of each stage, and an empty file for all that it wrote; return the records by stage."""
    entries: dict[str, Entry] = {}
    for stage in (*prepared, *run):
        deps = [{"path": path, "hash": "md5", **_fake(path)} for path in sorted(stage.deps)]
        outs = [{"path": path, "hash": "md5", **_fake(path)} for path in sorted(stage.outs)]
        entry: dict[str, Any] = {"cmd": stage.cmd, "deps": deps, "outs": outs}
        if stage.params:
            entry["params"] = {"params.yaml": dict(stage.params)}
        entries[stage.name] = entry
        keyed = entry | {"outs": [out["path"] for out in outs]}
        keyed["deps"] = [{key: value for key, value in dep.items() if key != "size"} for dep in deps]
        key = hashlib.sha256(json.dumps(keyed, sort_keys=True).encode()).hexdigest()
        record = cache / "runs" / key[:2] / key / "record"
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(entry))
        for out in outs:
            file = cache / "files/md5" / out["md5"][:2] / out["md5"][2:]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return entries


def _measure_dvc(folder: Path, timed: Callable[[str, Callable[[], Any]], Any], *, rewrite: bool) -> None:
    from dvc.dvcfile import Lockfile
    from dvc.repo import Repo
    from dvc.utils.serialize import modify_yaml

    def rewritten() -> None:
        with modify_yaml(str(folder / "dvc.lock")):
            pass

    with Repo(str(folder)) as repo:
        timed("DVC's index", lambda: list(repo.index.stages))
        timed("DVC's graph", lambda: repo.index.graph)
        timed("DVC reads dvc.lock", lambda: Lockfile(repo, str(folder / "dvc.lock")).load())
        if rewrite:
            timed("DVC writes it, after each stage", rewritten)
