"""An ablation at one commit: what its cells are, and the folder of the main checkout that all who work on it share.

`.cache/matrix/<revision>/` has a clone in which the inputs are prepared, what is known of each cell, their logs, and
what was assembled. The revision is the last commit of code or parameters, so that committing results begins nothing
anew, and parameters changed later are another ablation's.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mosaic_pipeline.digest import md5_text
from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.layout import root
from mosaic_pipeline.matrix.cells import Parts, divide
from mosaic_pipeline.matrix.definitions import read_definitions
from mosaic_pipeline.matrix.results import Results
from mosaic_pipeline.params import Params, load_params
from mosaic_pipeline.provenance.cache import cache_folder
from mosaic_pipeline.provenance.git import ask, changed_code
from mosaic_pipeline.provenance.lock import LOCK, parse_entries
from mosaic_pipeline.tracking.revision import git_revision

PREPARED = "prepared.json"
DIRTY = "-dirty"


@dataclass(frozen=True)
class Plan:
    """The ablation of one revision; `root` is the main checkout, `commit` what its cells check out."""

    root: Path
    revision: str
    commit: str

    @property
    def folder(self) -> Path:
        """What all processes share."""
        return self.root / ".cache" / "matrix" / self.revision[:12]

    @property
    def prepared(self) -> Path:
        """The clone in which the inputs of all cells are made."""
        return self.folder / "prepared"

    @property
    def logs(self) -> Path:
        """What cells print, by number."""
        return self.folder / "logs"

    @property
    def cache(self) -> Path:
        """The main checkout's DVC cache."""
        return cache_folder(self.root)

    @property
    def name(self) -> str:
        """What its jobs are called."""
        # Of this checkout: another one of the same commit has jobs of its own.
        return f"mosaic-{self.revision[:12]}-{md5_text(str(self.root))[:6]}"

    @cached_property
    def params(self) -> Params:
        """The parameters of the commit."""
        return load_params(self.prepared / "params.yaml")

    @cached_property
    def parts(self) -> Parts:
        """Its stages by who runs them."""
        return divide(read_definitions(self.prepared), self.params.ablation.tune.variants)

    def results(self) -> Results:
        """Return what is there of it already. Raises PipelineError if its inputs are not prepared."""
        file = self.folder / PREPARED
        try:
            folders = {path: {"md5": str(item["md5"]), **item} for path, item in json.loads(file.read_bytes()).items()}
            results = self.results_of(folders)
        except FileNotFoundError:
            raise PipelineError(
                f"nothing of commit {self.revision[:12]} was submitted; `python -m stages.matrix submit` or `local`"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise PipelineError(
                f"{file}: not as it was written, or not of {self.prepared / LOCK}; delete {self.folder} and begin again"
            ) from None
        for cell in self.parts.cells:
            if cell.tunes:  # on what they chose others depend
                results.lacking(cell.stages)
        return results

    def results_of(self, folders: Mapping[str, Mapping[str, Any]]) -> Results:
        """Return what was prepared; `folders` as for Results."""
        entries = read_lock(self.prepared / LOCK)
        return Results(self.cache, {each.name: entries[each.name] for each in self.parts.prepared}, folders)

    def environment(self) -> dict[str, str]:
        """Return the environment of what runs in a clone: it belongs to the main checkout, and its code is its own."""
        told = ("DVC_ROOT", "DVC_STAGE", "DVC_EXP", "GIT_")  # by a DVC or git that runs this process
        kept = {key: value for key, value in os.environ.items() if not key.startswith(told)}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return kept | {"DVC_ROOT": str(self.root), "DVC_NO_ANALYTICS": "true", "PATH": path}

    @contextmanager
    def exclusive(self, what: str, waiting: str = "") -> Iterator[None]:
        """Hold a lock of the ablation; says `waiting` if another process has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if waiting and not self.is_free(what):
            print(waiting, flush=True)
        with self.lock(what):
            yield

    def lock(self, what: str) -> FileLock:
        """Return the lock that `exclusive` holds; its owner's death frees it."""
        return FileLock(self.folder / f".{what}.lock")

    def is_free(self, what: str) -> bool:
        """Whether no process holds a lock of the ablation."""
        try:
            with self.lock(what).acquire(timeout=0):
                return True
        except Timeout:
            return False


def read_lock(path: Path) -> dict[str, Any]:
    """Return the entries of a dvc.lock by stage; none if there is no such file."""
    return parse_entries(path.read_bytes(), dict, str(path)) if path.exists() else {}


def plan_here(*, begins: bool = True) -> Plan:
    """Return the plan of the commit that is checked out here.

    Raises PipelineError if there is none, or, where a plan may begin, if code or parameters differ from the commit.
    """
    main = root()
    revision = git_revision()
    if revision == "unknown":
        raise PipelineError("no git commit here, and a cell trains what is committed; `git init`, and commit")
    if begins and revision.endswith(DIRTY):
        raise PipelineError(
            f"{few(changed_code(Path()))}: changed and not committed, and a cell trains what is committed; "
            "commit it (on a branch, if it is an experiment)"
        )
    return Plan(main, revision.removesuffix(DIRTY), ask(Path(), "rev-parse", "HEAD"))
