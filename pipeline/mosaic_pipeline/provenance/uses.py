"""The other way: what was made from a model, its evaluations and analyses and the rows that name it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mosaic_pipeline.provenance.kinds import kind_of, leads
from mosaic_pipeline.provenance.lock import Item
from mosaic_pipeline.provenance.node import Node, State
from mosaic_pipeline.provenance.rows import SEGMENTATION_TABLE, TABLE, lines_of
from mosaic_pipeline.provenance.snapshot import Snapshot


def with_uses(node: Node, snapshot: Snapshot) -> Node:
    """Return a model's node, or that of a bundle, a registered model or a copy, with what was made from the model."""
    model = _model(node)
    if model is None or model.md5 is None:
        return node
    # Under the revision whose dvc.lock alone knows it, so does its dvc.lock know what came of it.
    then = replace(snapshot, commit=node.name) if node.kind == "git revision" else snapshot
    return replace(node, uses=(*_tested(then, model.md5), *_rows(then, model)))


def _model(node: Node) -> Node | None:
    if node.kind == "model":
        return node
    models = [each for each in node.walk() if each.kind == "model"]
    if node.kind == "file":
        models = [model for model in models if model.md5 == node.md5]
    elif node.kind == "git revision":
        models = [part for part in node.parts[:1] if part.kind == "model"]
    elif node.kind not in ("bundle", "registered model"):
        models = []
    return models[0] if models else None


def _tested(snapshot: Snapshot, md5: str) -> list[Node]:
    """Return what stages wrote that read the model: those of dvc.lock, else of DVC's run cache."""
    for stages in (snapshot.lock.stages.values(), snapshot.runs_with(md5)):
        readers = [stage for stage in stages if any(dep.md5 == md5 for dep in stage.deps)]
        if outs := {out for stage in readers for out in _leading(stage.outs)}:
            return [_node(snapshot, out) for out in sorted(outs, key=lambda out: (out.path, out.md5))]
    return []


def _leading(outs: Sequence[Item]) -> Sequence[Item]:
    return [out for out in outs if leads(out.path)] or outs[:1]


def _node(snapshot: Snapshot, item: Item) -> Node:
    state, why = snapshot.verify(item)
    return Node(kind_of(item.path), item.path, state, item.md5, item.size, why=why)


def _rows(snapshot: Snapshot, model: Node) -> Iterator[Node]:
    """Yield a node for each table with rows of the model, with their lines."""
    training = (str(model.facts.get("variant")), str(model.facts.get("seed")))
    current = any(out.md5 == model.md5 for out in snapshot.lock.outs())
    for name in (TABLE, SEGMENTATION_TABLE):
        data = snapshot.committed(name) if snapshot.commit else snapshot.here(name)
        if lines := lines_of(data or b"", model.md5 or "", training if current else None):
            item = snapshot.lock.holder(name)
            node = _node(snapshot, item) if item else Node("rows", name, State.RECORDED)
            yield replace(node, kind="rows", name=name, facts={"lines": _ranges(lines)})


def _ranges(lines: Sequence[int]) -> str:
    """Return ascending numbers in words: `2 to 4, 9`."""
    ranges: list[list[int]] = []
    for line in lines:
        if ranges and line == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], line]
        else:
            ranges.append([line])
    return ", ".join(" to ".join(map(str, ends)) for ends in ranges)
