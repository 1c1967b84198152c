"""The tree of a thing: from a report or a number down to raw files, weights, code and runs."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mosaic_pipeline.code import list_code
from mosaic_pipeline.digest import md5_text
from mosaic_pipeline.errors import few
from mosaic_pipeline.provenance import git
from mosaic_pipeline.provenance.kinds import kind_of, leads
from mosaic_pipeline.provenance.lock import Item, Stage
from mosaic_pipeline.provenance.node import Node, State, differs
from mosaic_pipeline.provenance.runs import TRAININGS, Runs, TrackedRun
from mosaic_pipeline.provenance.snapshot import Snapshot
from mosaic_pipeline.provenance.sources import source_of_raw, source_of_scans, source_of_weights

DIRTY = "-dirty"
# Stages whose runs in MLflow are tagged with the model that they test or look into.
TESTS = ("evaluate", "analyse", "corrupt", "transfer", "seg_evaluate", "seg_analyse")
# What a stage writes several files of: the others stand beside one.
LEAVES = ("parameters", "declaration")  # what git has, and what it decides
IN_COMPANY = ("model", "evaluation", "analysis", "report", "scans")
# Folders in which several runs of stages write, and on which others depend as a whole.
SHARED = {
    *("data/cached/training", "data/cached/test", "runs", "configs", "tuning", "evaluation", "analysis"),
    *("segmentation/results", "segmentation/cached", "segmentation/index", "segmentation/raw"),
}
UNKNOWN = "dvc.lock says nothing of it, nor does DVC's run cache"


@dataclass
class Tree:
    """Builds the nodes of one snapshot. What stands in the tree already is repeated without its parts."""

    snapshot: Snapshot
    runs: Runs
    tested: str | None = None  # the one dataset whose test data are told, of an evaluation that has several
    _done: set[Item] = field(default_factory=set)
    _lists: dict[str, str] = field(default_factory=dict)

    def of_item(self, item: Item, beside: frozenset[Item] = frozenset()) -> Node:
        """Return the node of a file or folder with what it was made from, but for what stands `beside` it."""
        kind = kind_of(item.path)
        if kind == "code":
            return self._once(item, self._code(item))
        state, why = self.snapshot.verify(item)
        node = Node(kind, item.path, state, item.md5, item.size, self._facts(kind, item), why)
        if kind == "parameters" and state is not State.VERIFIED:
            node = self._parameters(node)
        if (node := self._once(item, node)).repeated or kind in LEAVES:
            return node
        stage = self.snapshot.maker(item)
        if stage is None:
            return replace(node, why=_also(node.why, UNKNOWN))
        if kind == "model":
            node = self._agrees(node, item, stage)
        return replace(node, parts=tuple(self._parts(kind, item, stage, beside, state is State.VERIFIED)))

    def of_path(self, path: str) -> Node:
        """Return the node of a path that dvc.lock knows: a file, a file in a folder, or a folder of several outputs."""
        stage = self.snapshot.lock.maker(path)
        if stage is None:
            outs = self.snapshot.lock.below(path)
            parts = tuple(self.of_item(out) for out in outs)
            return Node(
                "folder", path, State.RECORDED if outs else State.MISSING, parts=parts, why="" if outs else UNKNOWN
            )
        if item := stage.out(path):
            return self.of_item(item)
        (folder,) = (out for out in stage.outs if path.startswith(f"{out.path}/"))
        here, whole = self.snapshot.root / path, self.of_item(folder)
        if not here.exists():
            return Node(kind_of(path), path, State.MISSING, why="it would be in what is below", parts=(whole,))
        # If the folder is as recorded, so is each file in it.
        state = State.VERIFIED if whole.state is State.VERIFIED and not whole.why else State.RECORDED
        md5, size = self.snapshot.hasher.md5(here), here.stat().st_size
        return Node(kind_of(path), path, state, md5, size, why="a part of what is below", parts=(whole,))

    def of_reports(self) -> list[Node]:
        """Return the nodes of the reports, with all that they show; of the models, where none is rendered."""
        lock = self.snapshot.lock
        found = [lock.stages[name].outs[0] for name in ("report", "seg_report") if name in lock.stages]
        models = [out for out in lock.outs() if kind_of(out.path) == "model"]
        return [self.of_item(item) for item in found or models]

    def of_run(self, run: TrackedRun) -> Node:
        """Return the node of a run of MLflow: no bytes are there to be verified."""
        named = {"stage": run.stage, "status": run.status, "started": run.started}
        tags = {name: run.tags[name] for name in ("device", "git.revision", "dvc.exp_name") if name in run.tags}
        return Node("MLflow run", run.id, State.RECORDED, facts={"name": run.name} | named | tags)

    def revision(self, recorded: str | None, otherwise: str = "none is recorded") -> Node:
        """Return the node of a revision of the code, verified if git has that commit; `otherwise` says why none."""
        commit = (recorded or "").removesuffix(DIRTY)
        if recorded is None or commit == "unknown":
            return Node("code revision", "unknown", State.MISSING, why=otherwise)
        here = git.commit_of(self.snapshot.root, commit)
        if here is None:
            return Node("code revision", recorded, State.RECORDED, why="git does not have this commit here")
        why = "dirty: code or parameters that were not committed" if recorded.endswith(DIRTY) else ""
        return Node("code revision", recorded, State.VERIFIED, why=why)

    def workspace(self) -> Node:
        """Return the node of the workspace's code: its revision, and which files of it were not committed."""
        from mosaic_pipeline.tracking.revision import git_revision

        node = replace(self.revision(git_revision()), kind="code of the workspace")
        changed = git.changed_code(self.snapshot.root)
        return replace(node, why=f"dirty: not committed are {few(changed)}") if changed else node

    def _parts(self, kind: str, item: Item, stage: Stage, beside: frozenset[Item], verified: bool) -> Iterator[Node]:
        """Yield what a run of a stage wrote beside an item, then what it read, then runs and sources."""
        if kind in IN_COMPANY:
            yield from self._beside(item, stage)
        yield from self._read(stage, beside)
        yield from self._tracked(kind, item, stage)
        if kind == "raw file":
            yield source_of_raw(item, stage.params, verified)
        if kind == "weights":
            yield source_of_weights(stage.params)
        if kind == "scans":
            yield source_of_scans(stage.params)

    def _once(self, item: Item, node: Node) -> Node:
        """Return the node as a repeated one if the item stands in the tree already."""
        repeated = item in self._done
        self._done.add(item)
        return replace(node, repeated=repeated)

    def _beside(self, item: Item, stage: Stage) -> Iterator[Node]:
        for out in stage.outs:
            if out != item:
                state, why = self.snapshot.verify(out)
                yield Node("beside it", out.path, state, out.md5, out.size, why=why)

    def _read(self, stage: Stage, beside: frozenset[Item]) -> Iterator[Node]:
        """Yield what a stage read: of a model's own inputs only that they are the model's."""
        deps = [dep for dep in stage.deps if dep not in beside and not _passed_over(dep.path)]
        for model in [dep for dep in deps if kind_of(dep.path) == "model"]:
            maker = self.snapshot.maker(model)
            known = {*maker.deps, *maker.outs} - {model} if maker else set()
            deps = [dep for dep in deps if dep not in known]
        for dep in sorted(deps, key=lambda dep: _order(dep.path)):
            others = frozenset(deps) - {dep}
            yield self._together(dep, others) if dep.path in SHARED else self.of_item(dep, others)

    def _together(self, folder: Item, beside: frozenset[Item]) -> Node:
        """Return the node of a folder in which several stages write, as it was when it was read, with what is in it."""
        state, why = self.snapshot.verify(folder)
        outs = [out for out in self.snapshot.lock.below(folder.path) if leads(out.path)]
        if kind_of(folder.path) == "test data" and self.tested:
            outs = [out for out in outs if out.path.endswith(f"/{self.tested}")]
        parts = tuple(part for out in outs if not (part := self.of_item(out, beside)).repeated)
        kind = f"{kind_of(folder.path)}, together"
        return Node(kind, folder.path, state, folder.md5, folder.size, why=why, parts=parts)

    def _code(self, item: Item) -> Node:
        """Return the node of a stage's code: verified if the modules here are those that ran, whoever kept the list."""
        stage = item.path.removeprefix("code/").removesuffix(".txt")
        if stage not in self._lists:
            self._lists[stage] = _list_here(self.snapshot.root, stage)
        here = self._lists[stage]
        node = Node("code", item.path, State.VERIFIED, item.md5, item.size)
        if md5_text(here) == item.md5:
            return replace(node, why="the modules here are those that ran")
        state, why = self.snapshot.verify(item)
        list_here = self.snapshot.lock.maker(item.path)
        if state is State.DIFFERS and list_here and list_here.out(item.path) == item:
            return replace(node, state=state, why=why)
        recorded = (self.snapshot.read(item) or b"").decode(errors="replace")
        other = sorted(_modules(recorded).items() ^ _modules(here).items()) if recorded else []
        modules = list(dict.fromkeys(name for name, _ in other))
        dirty = "dirty, " if not self._uncommitted.isdisjoint(modules) else ""
        names = f": {few(modules)}" if modules else ""
        return replace(node, state=State.RECORDED, why=f"{dirty}the code here is another{names}")

    @cached_property
    def _uncommitted(self) -> frozenset[str]:
        """Files of code and parameters that differ from the last commit."""
        return frozenset(git.changed_code(self.snapshot.root))

    def _parameters(self, node: Node) -> Node:
        """Return parameters that are not those of the workspace as verified, if some commit has them."""
        commit = git.commit_with(self.snapshot.root, node.name, node.md5 or "")
        if commit:
            return replace(node, state=State.VERIFIED, facts={"commit": commit}, why="as committed then")
        return replace(node, state=State.RECORDED, why="those here are others, and no commit has them")

    def _tracked(self, kind: str, item: Item, stage: Stage) -> Iterator[Node]:
        """Yield the runs of MLflow in which an item was made, the oldest first: that is the original one."""
        own = stage.name.partition("@")[0]
        if kind == "model":
            yield from self._trainings(item.md5)
        elif own in TESTS and (model := next((dep for dep in stage.deps if kind_of(dep.path) == "model"), None)):
            part = item.path.rpartition("/")[2].partition(".")[0]
            found = [run for run in self.runs.of_model(model.md5) if run.stage == own]
            yield from (self.of_run(run) for run in found if run.tags.get("specialist", part) == part)

    def _trainings(self, md5: str) -> Iterator[Node]:
        """Yield the runs that trained a model, and what only they know: on which device, by which revision."""
        runs = [run for run in self.runs.of_model(md5) if run.stage in TRAININGS]
        yield from map(self.of_run, runs)
        if not runs:
            why = self.runs.why or "no run here is tagged with it"
            yield Node("MLflow run", f"tags.\"md5.model\" = '{md5}'", State.MISSING, why=why)
        tags = runs[0].tags if runs else {}
        yield self.revision(tags.get("git.revision"), "the training's is not recorded here; its modules are above")
        device = tags.get("device")
        yield Node("device", device or "unknown", State.RECORDED if device else State.MISSING)

    def _facts(self, kind: str, item: Item) -> dict[str, Any]:
        if kind == "model":
            parts = item.path.split("/")
            return {"variant": parts[-3], "seed": int(parts[-2])} if parts[-2].isdigit() else {}
        return {}

    def _agrees(self, node: Node, item: Item, stage: Stage) -> Node:
        """Hold a model against what train.json says of it."""
        record = next((out for out in stage.outs if out.path.endswith("/train.json")), None)
        said = self.snapshot.read_json(record).get("md5", {}).get("model") if record else None
        return differs(node, f"train.json says {said}") if said and said != item.md5 else node


def _passed_over(path: str) -> bool:
    """Whether a dependency is there to order stages, or is told by another."""
    return path == ".cache/checked" or (kind_of(path) == "declaration" and not path.endswith("source.yaml"))


_ORDER = ("evaluation", "analysis", "model", "configuration", "test data", "training data", "weights")


def _order(path: str) -> tuple[int, str]:
    kind = kind_of(path)
    return (_ORDER.index(kind) if kind in _ORDER else len(_ORDER), path)


def _also(why: str, more: str) -> str:
    return f"{why}; {more}" if why else more


def _list_here(root: Path, stage: str) -> str:
    try:
        return list_code(stage, root)
    except (OSError, SyntaxError, ValueError):
        return ""


def _modules(text: str) -> dict[str, str]:
    return {name: md5 for md5, _, name in (line.partition("  ") for line in text.splitlines())}
