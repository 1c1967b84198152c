"""A tree as an RO-Crate 1.1 (https://w3id.org/ro/crate/1.1): small files as they are, all else by its md5.

What made what is said by the terms of the profile Process Run Crate: an action for everything that was made, with what
it was made from (`object`) and what came of it (`result`).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic_pipeline.provenance import git
from mosaic_pipeline.provenance.archive import write_archive
from mosaic_pipeline.provenance.lock import Item
from mosaic_pipeline.provenance.node import Node, State
from mosaic_pipeline.provenance.private import Private
from mosaic_pipeline.provenance.show import as_json
from mosaic_pipeline.provenance.snapshot import Snapshot

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

SMALL = 1 << 20  # bytes of the largest file that goes along
METADATA, TREE = "ro-crate-metadata.json", "provenance.json"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
LICENCE = "https://spdx.org/licenses/Apache-2.0"
UNDATED = "1980-01-01T00:00:00+00:00"
# What a node is in schema.org's words; a file is a File where it goes along.
TYPES = {
    "code": "SoftwareSourceCode",
    "code revision": "SoftwareSourceCode",
    "code of the workspace": "SoftwareSourceCode",
    "device": "IndividualProduct",
}


def write_crate(node: Node, snapshot: Snapshot, path: Path) -> None:
    """Write a tree and its small files as a zip. The same tree gives the same bytes; no absolute path is in it."""
    private = Private(snapshot)
    files = {name: private.without(data) for name, data in small_files(node, snapshot).items()}
    write_archive(path, with_metadata(node, files, snapshot, f"Provenance of {node.name}"))


def small_files(node: Node, snapshot: Snapshot) -> dict[str, bytes]:
    """Return the files of a tree that are here as recorded and not larger than SMALL, by path."""
    items = {
        Item(each.name, each.md5, each.size)
        for each in node.walk()
        if each.md5 and each.state is State.VERIFIED and (each.size or 0) <= SMALL and _is_path(each.name)
    }
    found = {item.path: snapshot.read(item) for item in items if not item.is_folder}
    return {name: data for name, data in found.items() if data is not None and len(data) <= SMALL}


def with_metadata(node: Node, files: Mapping[str, bytes], snapshot: Snapshot, name: str) -> dict[str, bytes]:
    """Return files with the tree and the metadata that make them a crate."""
    whole = dict(files) | {TREE: Private(snapshot).without((as_json(node) + "\n").encode())}
    described = _describe(node, whole, name, _date(node, snapshot))
    return whole | {METADATA: (json.dumps(described, indent=2, sort_keys=True) + "\n").encode()}


def _describe(node: Node, files: Mapping[str, bytes], name: str, date: str) -> dict[str, Any]:
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate()
    crate.name, crate.license, crate.datePublished = name, LICENCE, date
    crate.description = f"What {node.kind} {node.name} was made from, as far as it is recorded; {TREE} has the tree."
    profile = {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    crate.root_dataset["conformsTo"] = crate.add(ContextEntity(crate, PROFILE, properties=profile))
    for each in sorted(files):
        crate.add_file(dest_path=each, properties={"name": each, "contentSize": str(len(files[each]))})
    _Entities(crate, files).add(node)
    generated: dict[str, Any] = crate.metadata.generate()
    generated["@graph"].sort(key=lambda entity: entity["@id"])
    return generated


class _Entities:
    """Adds the nodes of a tree to a crate, each once."""

    def __init__(self, crate: "ROCrate", files: Mapping[str, bytes]) -> None:
        self._crate, self._files = crate, files
        self._known: dict[str, Any] = {}

    def add(self, node: Node) -> Any:
        """Add a node with all below it; return its entity."""
        from rocrate.model.contextentity import ContextEntity

        identifier = _identifier(node, self._files)
        if identifier not in self._known:
            properties = _properties(node)
            if entity := self._crate.dereference(identifier):  # a file that goes along
                for key, value in properties.items():
                    entity[key] = value
            else:
                kind = {"@type": TYPES.get(node.kind, "CreativeWork"), "name": node.name}
                entity = self._crate.add(ContextEntity(self._crate, identifier, properties=kind | properties))
            self._known[identifier] = entity
        entity = self._known[identifier]
        if node.parts:
            self._made(node, entity, [self.add(part) for part in node.parts])
        for use in node.uses:
            self._made(use, self.add(use), [entity])
        return entity

    def _made(self, node: Node, entity: Any, made_from: list[Any]) -> None:
        """Add the action that made an entity, the node's, from others."""
        from rocrate.model.contextentity import ContextEntity

        action = {"@type": "CreateAction", "name": f"{node.kind} {node.name} was made", "result": entity}
        identifier = f"{_fragment(_identifier(node, self._files))}-made"
        self._crate.add(ContextEntity(self._crate, identifier, action))["object"] = made_from


def _identifier(node: Node, files: Mapping[str, bytes]) -> str:
    # Only with the very bytes that are recorded: paths may have been taken out of a file, or it may be another by now.
    if node.name in files and hashlib.md5(files[node.name]).hexdigest() == node.md5:
        return node.name
    return f"#{_slug(node.kind)}-{node.md5 or _slug(node.name)}"


def _fragment(identifier: str) -> str:
    return identifier if identifier.startswith("#") else f"#{_slug(identifier)}"


def _slug(text: str) -> str:
    return re.sub(r"[^\w.]+", "-", text, flags=re.ASCII).strip("-")


def _properties(node: Node) -> dict[str, str]:
    said = "; ".join([node.kind, node.state.value, *([node.why] if node.why else [])])
    own = {key.replace(" ", "_").replace(".", "_"): str(value) for key, value in node.facts.items() if key != "name"}
    own["description"] = said
    if node.md5:
        own["identifier"] = f"md5:{node.md5}"
    if node.size is not None:
        own["contentSize"] = str(node.size)
    if node.kind == "code revision":
        own["version"] = node.name
    return own


def _is_path(name: str) -> bool:
    """Whether a node's name is a path below the root, rather than an address or an id."""
    return not name.startswith(("/", "#")) and "://" not in name and ":" not in name and ".." not in name.split("/")


def _date(node: Node, snapshot: Snapshot) -> str:
    """Return the date of the revision that a tree names, else of the commit that is checked out: no clock's."""
    named = [each.name.removesuffix("-dirty") for each in node.walk() if each.kind.startswith(("code rev", "code of"))]
    known = [name for name in named if name != "unknown"]
    return git.committed_at(snapshot.root, (known or [snapshot.commit or "HEAD"])[-1]) or UNDATED
