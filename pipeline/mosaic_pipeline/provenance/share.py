"""One zip of an experiment for a colleague: what was found, what was set, and what it was made from."""

from pathlib import Path

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.provenance.archive import write_archive
from mosaic_pipeline.provenance.crate import with_metadata
from mosaic_pipeline.provenance.kinds import kind_of
from mosaic_pipeline.provenance.lock import LOCK
from mosaic_pipeline.provenance.node import Node
from mosaic_pipeline.provenance.private import PARAMS, Private
from mosaic_pipeline.provenance.snapshot import Snapshot

DEFINITION = "dvc.yaml"
CARDS = "bundles/*/README.md"


def write_share(node: Node, snapshot: Snapshot, path: Path, name: str) -> list[str]:
    """Write the zip, which is an RO-Crate with the tree `node`; return the names of what is in it.

    Raises PipelineError if no report is there.
    """
    private = Private(snapshot)
    files = {each: private.without(data) for each, data in _files(snapshot).items()}
    if not any(kind_of(each) == "report" for each in files):
        raise PipelineError(f"{name}: no report of it is here; `dvc repro` renders one")
    whole = with_metadata(node, files, snapshot, f"MOSAIC: {name}")
    write_archive(path, whole)
    return sorted(whole)


def _files(snapshot: Snapshot) -> dict[str, bytes]:
    """Return reports, resolved configurations, parameters, stages and model cards, by path."""
    found = {each: _of_project(snapshot, each) for each in (PARAMS, DEFINITION, LOCK)}
    for out in snapshot.lock.outs():
        if kind_of(out.path) == "configuration":
            found[out.path] = snapshot.read(out)
        elif kind_of(out.path) == "report":
            names = snapshot.names(out.path) if out.is_folder else [out.path]
            found |= {each: _of_project(snapshot, each) for each in names}
    if snapshot.commit is None:
        for card in sorted(snapshot.root.glob(CARDS)):
            found[f"cards/{card.parent.name}.md"] = card.read_bytes()
    return {each: data for each, data in found.items() if data is not None}


def _of_project(snapshot: Snapshot, name: str) -> bytes | None:
    return snapshot.committed(name) if snapshot.commit else snapshot.here(name)
