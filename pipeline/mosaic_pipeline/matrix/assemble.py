"""The report of an ablation whose cells are all done: nothing is trained for it, whatever is missing."""

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mosaic_pipeline.atomic import appearing, write_texts
from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.matrix.clones import run_stages, sweep, throwaway
from mosaic_pipeline.matrix.definitions import read_definitions
from mosaic_pipeline.matrix.lockfile import write_lock
from mosaic_pipeline.matrix.plan import Plan, read_lock
from mosaic_pipeline.matrix.results import Entry
from mosaic_pipeline.provenance.cache import cached_file
from mosaic_pipeline.provenance.git import file_at
from mosaic_pipeline.provenance.lock import FOLDER, LOCK, parse_entries
from mosaic_pipeline.tracking.revision import git_revision


def assemble(plan: Plan) -> Path:
    """Render the reports and put dvc.lock together, in a folder of the plan, which is returned.

    Raises PipelineError if a cell is missing, naming it, or if a report cannot be rendered.
    """
    results, parts = plan.results(), plan.parts
    missing = [cell.name for cell in parts.cells if results.lacking(cell.stages)]
    if missing:
        raise PipelineError(
            f"{few(missing, 5)}: not done, so there is no report yet; `python -m stages.matrix status` says why, "
            "`submit` or `local` runs what is missing"
        )
    with plan.exclusive("assemble", "another process assembles this; waiting for that"):
        sweep(plan)
        with throwaway(plan, "assemble") as clone:
            read = {dep for stage in parts.reports for dep in stage.deps}
            _link(plan.cache, clone, _read(results.entries.values(), read))
            write_lock(clone / LOCK, {})  # with thousands of stages in it DVC would take minutes
            status, said = run_stages(plan, clone, [], [stage.name for stage in parts.reports])
            if status:
                raise PipelineError(f"report: {said}")
            entries = results.entries | read_lock(clone / LOCK)
            with appearing(plan.folder / "result") as made:
                for out in _outs(plan):
                    _copy(clone / out, made / out)
                write_lock(made / LOCK, _ordered(plan, entries))
    return plan.folder / "result"


def take_home(plan: Plan, made: Path) -> bool:
    """Put what was assembled into the main checkout, if its code and parameters are still those of the plan.

    Returns whether they are.
    """
    if git_revision(plan.root) != plan.revision:
        return False
    texts = {file.relative_to(made).as_posix(): file.read_text(encoding="utf-8") for file in _files(made)}
    write_texts(plan.root, texts)
    for out in _outs(plan):
        for old in _files(plan.root / out):
            if old.relative_to(plan.root).as_posix() not in texts:  # such as of a specialist without a dataset by now
                old.unlink()
    return True


def _outs(plan: Plan) -> list[str]:
    """Return what the reports' stages write, files and folders."""
    return [out for stage in plan.parts.reports for out in stage.outs]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copy)(source, target)


def _files(folder: Path) -> list[Path]:
    """Return the files below a folder; none of what is no folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _ordered(plan: Plan, entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return entries in the order in which `dvc repro` leaves them: where those of the commit stood, new ones last."""
    committed = parse_entries(file_at(plan.prepared, plan.commit, LOCK) or b"", dict, f"{plan.commit[:12]}:{LOCK}")
    names = dict.fromkeys([*committed, *read_definitions(plan.prepared)])
    return {name: entries.get(name, committed.get(name, {})) for name in names if name in entries or name in committed}


def _read(entries: Iterable[Entry], read: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """Yield what was written of what is read."""
    read = set(read)
    for entry in entries:
        for out in entry["outs"]:
            parts = out["path"].split("/")
            if any("/".join(parts[:count]) in read for count in range(1, len(parts) + 1)):
                yield out


def _link(cache: Path, clone: Path, outs: Iterable[Mapping[str, Any]]) -> None:
    """Put files of the cache where they belong in a clone: DVC's own checkout takes minutes for thousands of stages."""
    for out in outs:
        target, file = clone / out["path"], cached_file(cache, out["md5"])
        if out["md5"].endswith(FOLDER):
            for each in json.loads(file.read_bytes()):
                _link_file(cached_file(cache, each["md5"]), target / each["relpath"])
        else:
            _link_file(file, target)


def _link_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES):
            raise
        target.symlink_to(source)
