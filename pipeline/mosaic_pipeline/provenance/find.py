"""What a user means by a thing: a file, an md5, a run, a registered model, a row, an experiment or a revision."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mosaic_pipeline.bundle_files import is_bundle
from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.provenance import git, things
from mosaic_pipeline.provenance.kinds import kind_of
from mosaic_pipeline.provenance.node import Node, State
from mosaic_pipeline.provenance.records import recorded
from mosaic_pipeline.provenance.rows import SEGMENTATION_TABLE, TABLE, find_row, read_row
from mosaic_pipeline.provenance.runs import Runs
from mosaic_pipeline.provenance.snapshot import Snapshot
from mosaic_pipeline.provenance.tree import Tree
from mosaic_pipeline.provenance.uses import with_uses

LEGAL = (
    "what can be traced is a file, an md5, an MLflow run, models:/<name>/<version>, <name>@<alias>, "
    "results.csv:<line>, <variant>/<seed>[/<dataset>], a DVC experiment, a git revision and a bundle"
)
SHORTEST = 6  # digits of an md5 or a run's id
ROW = r"(?P<file>.+\.csv):(?P<line>[0-9]+)"
REGISTERED = (
    r"models:/(?P<model>[^/@]+)(?:/(?P<number>[0-9]+)|@(?P<alias>[^/@]+))|(?P<name>[^/@\s]+)@(?P<called>[^/@\s]+)"
)
TRAINING = r"(?P<variant>[a-z][a-z0-9_]*)/(?P<seed>[0-9]+)(?:/(?P<dataset>[a-z0-9_]+))?"
DIGITS = rf"[0-9a-f]{{{SHORTEST},32}}(\.dir)?"

Meanings = dict[str, Callable[[], Node]]


@dataclass(frozen=True)
class Finder:
    """Finds things in a checkout, as seen from a folder (`here`) in which relative paths begin."""

    snapshot: Snapshot
    runs: Runs
    here: Path

    def trace(self, thing: str) -> Node:
        """Return the tree of a thing, of a model also what was made from it.

        Raises PipelineError if it is nothing that is known, or several things.
        """
        return with_uses(self._find(thing), self.snapshot)

    def _find(self, thing: str) -> Node:
        found = self._by_form(thing) or self._by_path(thing)
        if found is not None:
            return found
        meant = self._by_name(thing)
        if not meant:
            raise PipelineError(f"{thing}: nothing here goes by that name; {LEGAL}")
        if len(meant) > 1:
            raise PipelineError(f"{thing}: is {few(meant, 5)}; name one of them, with more digits or by its path")
        return next(iter(meant.values()))()

    def commit(self, name: str) -> str:
        """Return the commit of an experiment or revision. Raises PipelineError if there is none."""
        if found := git.experiments(self.snapshot.root).get(name) or git.commit_of(self.snapshot.root, name):
            return found
        raise PipelineError(f"{name}: no DVC experiment and no git revision; `dvc exp list` names the former")

    def _by_form(self, thing: str) -> Node | None:
        """Return what nothing else is written like: a row, a registered model, a training."""
        if (found := re.fullmatch(ROW, thing)) and (path := self._path(found["file"])).is_file():
            return things.of_row(self.snapshot, self.runs, read_row(path, self._name(path), int(found["line"])))
        if found := re.fullmatch(REGISTERED, thing):
            return self._registered(found["model"] or found["name"], found["number"], found["alias"] or found["called"])
        if (found := re.fullmatch(TRAINING, thing)) and not self._path(thing).exists():
            return self._training(found["variant"], found["seed"], found["dataset"])
        return None

    def _registered(self, model: str, number: str | None, alias: str | None) -> Node:
        version = self.runs.version(model, number, alias)
        name = f"models:/{model}/{number}" if number else f"models:/{model}@{alias}"
        if version is None:
            known = few(self.runs.registered(), 5) or "none"
            raise PipelineError(f"{name}: no such registered model; {self.runs.why or f'registered are: {known}'}")
        made = self.runs.find(version.run)[:1] if version.run else []
        tags = [version.tags, *(run.tags for run in made)]
        md5 = next((each["md5.model"] for each in tags if "md5.model" in each), None)
        parts = [Tree(self.snapshot, self.runs).of_run(run) for run in made]
        parts += [things.of_model(self.snapshot, self.runs, md5)] if md5 else []
        why = "" if md5 else "neither its tags nor its run say the md5 of a model"
        facts = {"version": version.number}
        return Node("registered model", name, State.RECORDED, facts=facts, why=why, parts=tuple(parts))

    def _training(self, variant: str, seed: str, dataset: str | None) -> Node | None:
        if dataset is None:
            paths = (f"{folder}/{variant}/{seed}/model.safetensors" for folder in ("runs", "segmentation/results"))
            found = next((path for path in paths if self.snapshot.lock.maker(path)), None)
            return Tree(self.snapshot, self.runs).of_path(found) if found else None
        for table in (TABLE, SEGMENTATION_TABLE):
            data = self.snapshot.here(table)
            if data and (row := find_row(data, table, variant, seed, dataset)):
                return things.of_row(self.snapshot, self.runs, row)
        return None

    def _by_path(self, thing: str) -> Node | None:
        path = self._path(thing)
        name, lock = self._name(path), self.snapshot.lock
        if path.is_dir() and is_bundle(path):
            return things.of_bundle(self.snapshot, self.runs, path, name)
        if path == self.snapshot.root:
            return things.of_snapshot(self.snapshot, self.runs, "workspace", "of this checkout")
        inside = path.is_relative_to(self.snapshot.root)
        if inside and (lock.maker(name) or lock.below(name)):
            return Tree(self.snapshot, self.runs).of_path(name)
        if not path.is_file():
            return None
        md5 = self.snapshot.hasher.md5(path)
        if inside and git.ask(self.snapshot.root, "ls-files", "--", name):
            return self._committed(name, md5, path.stat().st_size)
        if not (meant := self._by_name(md5)):
            where = "" if inside else "outside of this checkout, and "
            raise PipelineError(f"{thing}: {where}nothing here is recorded with its md5, {md5}; {LEGAL}")
        part = next(iter(meant.values()))()
        return Node("file", name, State.VERIFIED, md5, path.stat().st_size, why="the same bytes as", parts=(part,))

    def _committed(self, name: str, md5: str, size: int) -> Node:
        """Return the node of a file that git knows and no stage writes: code, parameters, documents."""
        root = self.snapshot.root
        commit = git.ask(root, "log", "-1", "--format=%H", "--", name)
        changed = git.ask(root, "diff", "--name-only", "HEAD", "--", name)
        state, why = (State.RECORDED, "dirty: it was changed since") if changed else (State.VERIFIED, "as committed")
        parts = (Tree(self.snapshot, self.runs).workspace(),)
        return Node(kind_of(name), name, state, md5, size, {"commit": commit}, why, parts)

    def _by_name(self, thing: str) -> Meanings:
        """Return what a name may mean: an md5 or the beginning of one, a run's id, an experiment, a revision."""
        root, snapshot, runs = self.snapshot.root, self.snapshot, self.runs
        meant: Meanings = {}
        if re.fullmatch(DIGITS, thing):
            for run in runs.find(thing):
                meant[f"the MLflow run {run.id} ({run.name})"] = partial(things.of_run, snapshot, runs, run)
            for found in recorded(snapshot, thing) if not meant or len(thing) < 32 else ():
                meant[f"{found.item.path} ({found.item.md5})"] = partial(things.of_recorded, found, runs)
            if not meant:
                meant |= self._tagged(thing)
        commit = git.experiments(root).get(thing)
        kind = "DVC experiment" if commit else "git revision"
        if commit := commit or git.commit_of(root, thing):
            then = replace(snapshot, commit=commit)
            meant[f"the {kind} {commit[:10]}"] = partial(things.of_snapshot, then, runs, kind, thing)
        return meant

    def _tagged(self, prefix: str) -> Meanings:
        """Return what only the tags of runs know by an md5 that begins like this."""
        meant: Meanings = {}
        for key, md5 in sorted(self.runs.tagged_md5(prefix)):
            kind = key.removeprefix("md5.")
            meant[f"the {kind} {md5}"] = (
                partial(things.of_model, self.snapshot, self.runs, md5)
                if kind == "model"
                else partial(Node, kind, md5, State.RECORDED, md5, why="known by the tags of MLflow runs alone")
            )
        return meant

    def _path(self, name: str) -> Path:
        return (self.here / name).resolve()

    def _name(self, path: Path) -> str:
        """Return a path as it goes into an answer: below the root, else its name alone: folders are one machine's."""
        root = self.snapshot.root
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
