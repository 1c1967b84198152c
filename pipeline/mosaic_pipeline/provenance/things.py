"""The trees of things that dvc.lock does not know by themselves: rows, bundles, models by md5, runs, revisions."""

import re
from dataclasses import replace
from pathlib import Path

from mosaic_pipeline.provenance import bundle
from mosaic_pipeline.provenance.kinds import kind_of
from mosaic_pipeline.provenance.lock import Item
from mosaic_pipeline.provenance.node import Node, State, differs
from mosaic_pipeline.provenance.records import Recorded, recorded
from mosaic_pipeline.provenance.rows import Row, find_same
from mosaic_pipeline.provenance.runs import Runs, TrackedRun
from mosaic_pipeline.provenance.said import Said, said_of
from mosaic_pipeline.provenance.snapshot import Snapshot
from mosaic_pipeline.provenance.tree import Tree

MD5 = r"[0-9a-f]{32}"


def of_recorded(found: Recorded, runs: Runs) -> Node:
    """Return the tree of a file or folder; under the revision whose dvc.lock knows it, if that is not this one."""
    tree = Tree(found.snapshot, runs)
    node = tree.of_item(found.item)
    if found.snapshot.commit is None:
        return node
    then = tree.revision(found.snapshot.commit)
    return replace(then, kind="git revision", why="its dvc.lock is the one that knows it", parts=(node,))


def of_model(snapshot: Snapshot, runs: Runs, md5: str) -> Node:
    """Return the tree of a model by its md5; where no record here has it, the runs of MLflow that know it.

    The md5 is what a record says (a row, a bundle, a tag), so that a part of one is none.
    """
    if not re.fullmatch(MD5, md5):
        return Node("model", md5, State.MISSING, why="no md5: that has 32 digits from 0 to f")
    models = [found for found in recorded(snapshot, md5) if kind_of(found.item.path) == "model"]
    if models:
        return of_recorded(models[0], runs)
    parts = tuple(Tree(snapshot, runs).of_run(run) for run in runs.of_model(md5))
    why = "no dvc.lock, of now or the past, and no run cache here knows it"
    return Node("model", md5, State.RECORDED if parts else State.MISSING, md5, why=why, parts=parts)


def of_run(snapshot: Snapshot, runs: Runs, run: TrackedRun) -> Node:
    """Return the tree of a run of MLflow: the model that it made or tested, or the reports."""
    tree = Tree(snapshot, runs)
    node, md5 = tree.of_run(run), run.tags.get("md5.model")
    if md5:
        parts: tuple[Node, ...] = (of_model(snapshot, runs, md5), tree.revision(run.tags.get("git.revision")))
        return replace(node, parts=parts)
    if run.stage in ("report", "seg_report"):
        return replace(node, why="it rendered a report; the present one is", parts=tuple(tree.of_reports()))
    return replace(node, why="it is tagged with no model")


def of_snapshot(snapshot: Snapshot, runs: Runs, kind: str, name: str) -> Node:
    """Return the tree of the workspace or of a commit: its reports and all that they were made from."""
    tree = Tree(snapshot, runs)
    revision = tree.revision(snapshot.commit) if snapshot.commit else tree.workspace()
    return Node(kind, name, revision.state, why=revision.why, parts=(revision, *tree.of_reports()))


def of_bundle(snapshot: Snapshot, runs: Runs, folder: Path, name: str) -> Node:
    """Return the tree of a bundle: its files, and the model that it was made from."""
    origin, files = bundle.read_provenance(folder), bundle.own_files(folder, snapshot.hasher)
    md5 = origin["md5"].get("model")
    parts = (
        *files,
        *((of_model(snapshot, runs, md5),) if md5 else ()),
        Tree(snapshot, runs).revision(origin["revision"]),
    )
    facts = {key: origin[key] for key in ("variant", "seed")}
    whole = all(file.state is State.VERIFIED for file in files)
    return Node("bundle", name, State.VERIFIED if whole else State.RECORDED, facts=facts, parts=parts)


def of_row(snapshot: Snapshot, runs: Runs, row: Row) -> Node:
    """Return the tree of a row: its table, the evaluation that has its numbers, the model of its md5, its revision."""
    tree = Tree(snapshot, runs, tested=row.cells["dataset"])
    node = Node("row", row.name, State.RECORDED, facts=row.facts)
    parts = [table] if (table := _table(snapshot, row.file)) else []
    evaluation = _evaluation(snapshot, row)
    if evaluation:
        parts.append(tree.of_item(evaluation))
        if said := said_of(snapshot.read_json(evaluation), row.cells):
            node = _compared(snapshot, node, row, said)
    elif row.model:
        node = replace(node, why="no evaluation of its model is recorded here")
        parts.append(of_model(snapshot, runs, row.model))
    else:
        node = replace(node, why="it does not say of which model it is, and no evaluation here is of it")
    return replace(node, parts=(*parts, tree.revision(row.cells.get("revision") or None)))


def _compared(snapshot: Snapshot, node: Node, row: Row, said: Said) -> Node:
    """Return a row's node held against its evaluation and, of what that does not say, the table as it is recorded."""
    data = snapshot.recorded(row.table)
    recorded_row = find_same(data, row) if data else None
    rest = row.beside(said)
    # A table that was rendered anew, from the same evaluation, has another revision.
    again = {key: text for key, text in (recorded_row or {}).items() if key in rest}
    if again.get("revision") != row.cells.get("revision"):
        again.pop("revision", None)
    if wrong := row.differing(said, "the evaluation") or row.differing(again, row.table):
        return differs(node, wrong)
    left = [key for key in rest if key not in again]
    why = ["as in the evaluation"]
    why += [f"{', '.join(again)} as in {row.table}"] if again else []
    why += [f"not compared: {', '.join(left)}"] if left else []
    return replace(node, state=State.RECORDED if left else State.VERIFIED, why="; ".join(why))


def _table(snapshot: Snapshot, name: str) -> Node | None:
    """Return the node of the table itself, without what it was made from; None if no stage wrote it."""
    item = snapshot.lock.holder(name)
    if item is None:
        return None
    state, why = snapshot.verify(item)
    return Node("report", item.path, state, item.md5, item.size, why=why)


def _evaluation(snapshot: Snapshot, row: Row) -> Item | None:
    """Return the evaluation of a row's training and dataset, if it is of the model that the row names."""
    variant, seed, dataset = (row.cells[key] for key in ("variant", "seed", "dataset"))
    folder = f"segmentation/results/{variant}/{seed}" if "case" in row.cells else f"evaluation/{variant}/{seed}"
    named = f"{folder}/{row.cells.get('specialist')}.json"
    found = [out for out in snapshot.lock.below(folder) if kind_of(out.path) == "evaluation"]
    # First that of the specialist which the row names: without its bytes nothing says which datasets it has.
    for item in sorted((item for item in found if item.path.endswith(".json")), key=lambda item: item.path != named):
        stage = snapshot.lock.maker(item.path)
        models = [dep.md5 for dep in stage.deps if kind_of(dep.path) == "model"] if stage else []
        said = snapshot.read_json(item)
        if row.model in (None, *models) and (not said or dataset in said.get("datasets", {})):
            return item
    return None
