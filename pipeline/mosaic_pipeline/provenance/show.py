"""A tree for a terminal: the state of each node in front, to be searched for, and what is the matter with it."""

import json
from collections.abc import Iterator, Sequence

from mosaic_pipeline.bundle_files import MEND
from mosaic_pipeline.provenance.bundle import FILE
from mosaic_pipeline.provenance.node import Node, State

MADE = "made from it"
SHORT = 10  # digits of an md5 that are shown
WIDTH = max(len(state.value) for state in State)


def as_text(node: Node) -> str:
    """Return a tree as lines, and a last one with how many nodes are in which state."""
    counts = ", ".join(f"{count} {state}" for state, count in node.count().items())
    return "\n".join([*_lines(node, 0), "", counts])


def as_json(node: Node) -> str:
    """Return a tree as JSON."""
    return json.dumps({"states": node.count(), "tree": node.tree()}, indent=2, ensure_ascii=False)


def how_to_mend(wrong: Sequence[Node]) -> str:
    """Say what brings back the recorded bytes: those of a bundle are not in this checkout."""
    bundled = [node.kind == FILE for node in wrong]
    ways = [MEND] if any(bundled) else []
    if not all(bundled):
        ways.append("`dvc checkout` brings back what DVC's cache has, `dvc repro` makes the rest anew")
    return "; ".join(ways)


def _lines(node: Node, depth: int) -> Iterator[str]:
    facts = [f"{key} {_value(value)}" for key, value in node.facts.items() if value is not None]
    said = "; ".join([*([", ".join(facts)] if facts else []), *([node.why] if node.why else [])])
    md5 = f" ({node.md5[:SHORT]})" if node.md5 and node.md5 != node.name else ""
    above = " [above]" if node.repeated else ""
    yield f"{node.state.value:<{WIDTH}}  {'  ' * depth}{node.kind} {node.name}{md5}{above}{f': {said}' if said else ''}"
    for part in node.parts:
        # Data are named again where they are read again; what they were declared and made by is told once.
        if not (part.repeated and part.kind in ("code", "declaration", "parameters")):
            yield from _lines(part, depth + 1)
    if node.uses:
        yield f"{'':<{WIDTH}}  {'  ' * depth}{MADE}"
    for use in node.uses:
        yield from _lines(use, depth + 1)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
