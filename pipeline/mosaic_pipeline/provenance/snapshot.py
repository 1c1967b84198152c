"""A state of the project: the workspace, or a commit of it, with what its dvc.lock records and where its bytes are."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.provenance import git
from mosaic_pipeline.provenance.cache import cache_folder, cached_file, read_run_cache, runs_with
from mosaic_pipeline.provenance.hashing import Hasher
from mosaic_pipeline.provenance.lock import LOCK, Item, Lock, Stage, parse_lock
from mosaic_pipeline.provenance.node import State

IN_CACHE = "in DVC's cache"


@dataclass(frozen=True)
class Snapshot:
    """The project in `root`: its workspace, or as a commit has it."""

    root: Path
    commit: str | None = None
    hasher: Hasher = field(default_factory=Hasher)

    @cached_property
    def cache(self) -> Path:
        """DVC's cache."""
        return cache_folder(self.root)

    @cached_property
    def lock(self) -> Lock:
        """What dvc.lock says. Raises PipelineError if there is none."""
        data = self.committed(LOCK) if self.commit else self.here(LOCK)
        if data is None:
            of = f" of {self.commit[:10]}" if self.commit else ""
            raise PipelineError(f"{LOCK}{of}: no such file, so nothing is recorded; `dvc repro` makes it")
        return parse_lock(data, f"{LOCK} of {self.commit[:10]}" if self.commit else LOCK)

    @cached_property
    def _run_cache(self) -> list[tuple[str, bytes]]:
        return read_run_cache(self.cache)

    def runs_with(self, part: str) -> Iterator[Stage]:
        """Yield the runs of stages in whose record of DVC's run cache a text, such as an md5, stands."""
        return runs_with(self._run_cache, part)

    def here(self, name: str) -> bytes | None:
        """Return a file's bytes from the workspace."""
        try:
            return (self.root / name).read_bytes()
        except OSError:
            return None

    def committed(self, name: str) -> bytes | None:
        """Return a file's bytes from the commit."""
        return git.file_at(self.root, self.commit, name) if self.commit else None

    def names(self, folder: str) -> list[str]:
        """Return the files below a folder of the workspace, or of the commit, by path."""
        if self.commit:
            listed = git.ask(self.root, "ls-tree", "-r", "--name-only", "-z", self.commit, "--", f"{folder}/")
            return [name for name in listed.split("\0") if name]
        files = (path for path in (self.root / folder).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.root).as_posix() for path in files if not path.name.startswith("."))

    def read(self, item: Item) -> bytes | None:
        """Return the bytes of a file as recorded, wherever they are: workspace, commit, or DVC's cache."""
        path = self.root / item.path
        if path.is_file() and self.hasher.md5(path) == item.md5:
            return self.here(item.path)
        path = cached_file(self.cache, item.md5)
        if path.is_file() and self.hasher.md5(path) == item.md5:
            return path.read_bytes()
        data = self.committed(item.path)
        return data if data is not None and hashlib.md5(data).hexdigest() == item.md5 else None

    def recorded(self, name: str) -> bytes | None:
        """Return the bytes of a file that a stage wrote, or that lies in a folder of it, as recorded; else None."""
        item = self.lock.holder(name)
        if item is None or item.path == name:
            return self.read(item) if item else None
        folder = self.root / item.path
        return self.here(name) if folder.is_dir() and self.hasher.md5(folder) == item.md5 else None

    def read_json(self, item: Item) -> dict[str, Any]:
        """Return a JSON file's content as recorded; nothing if its bytes are nowhere, or are no JSON."""
        data = self.read(item)
        try:
            tree = json.loads(data) if data else {}
        except ValueError:
            return {}
        return tree if isinstance(tree, dict) else {}

    def verify(self, item: Item) -> tuple[State, str]:
        """Hash the bytes of a file or folder again; return how they compare with the record, and what to say of it."""
        path = self.root / item.path
        found = self.hasher.md5(path) if path.exists() else None
        if found == item.md5:
            return State.VERIFIED, ""
        if found and self.commit is None and not self._replaced(item):
            return State.DIFFERS, f"its md5 is {found}, not {item.md5}"
        return self._verify_in_cache(item)

    def _replaced(self, item: Item) -> bool:
        """Whether dvc.lock has another file or folder in its place by now: then the one here is not to be this one."""
        stage = self.lock.maker(item.path)
        now = stage.out(item.path) if stage else None
        return now is not None and now.md5 != item.md5

    def maker(self, item: Item) -> Stage | None:
        """Return the run of a stage that wrote exactly this: of dvc.lock, else of DVC's run cache."""
        stage = self.lock.maker(item.path)
        if stage and (stage.out(item.path) or item).md5 == item.md5:
            return stage
        return next((run for run in self.runs_with(item.md5) if run.out(item.path) == item), None)

    def _verify_in_cache(self, item: Item) -> tuple[State, str]:
        kept = cached_file(self.cache, item.md5)
        if not kept.is_file():
            return State.RECORDED, "its bytes are not here"
        wrong = f"DVC's cache has other bytes under this md5 ({kept.name})"
        if not item.is_folder:
            return (State.VERIFIED, IN_CACHE) if self.hasher.md5(kept) == item.md5 else (State.DIFFERS, wrong)
        if self.hasher.md5(kept) != item.md5.removesuffix(".dir"):
            return State.DIFFERS, wrong
        for entry in json.loads(kept.read_bytes()):
            file = cached_file(self.cache, entry["md5"])
            if not file.is_file():
                return State.RECORDED, "its bytes are not all here"
            if self.hasher.md5(file) != entry["md5"]:
                return State.DIFFERS, f"DVC's cache has other bytes of {item.path}/{entry['relpath']}"
        return State.VERIFIED, IN_CACHE
