"""The order in which one `dvc repro` would run the stages of a pipeline, and so that of its dvc.lock."""

from collections.abc import Iterator, Mapping
from typing import Any

from mosaic_pipeline.matrix.definitions import Definition

HERE = ""  # the key of what lies at a place, rather than below it


def execution_order(definitions: Mapping[str, Definition]) -> list[str]:
    """Return the names of stages so that each comes after those whose results it reads, in the order that DVC takes."""
    written: dict[str, Any] = {}
    for each in definitions.values():
        for out in each.outs:
            place = written
            for part in out.split("/"):
                place = place.setdefault(part, {})
            place[HERE] = each.name
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in ordered:
            return
        for dep in definitions[name].deps:
            for maker in _makers(written, dep):
                visit(maker)
        ordered[name] = None

    for name in definitions:
        visit(name)
    return list(ordered)


def _makers(written: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield the stages that wrote a path, a folder above it or what lies below it."""
    place = written
    for part in path.split("/"):
        if part not in place:
            return
        place = place[part]
        if HERE in place:
            yield place[HERE]
            return
    yield from _below(place)


def _below(place: Mapping[str, Any]) -> Iterator[str]:
    for key, value in place.items():
        if key == HERE:
            yield value
        else:
            yield from _below(value)
