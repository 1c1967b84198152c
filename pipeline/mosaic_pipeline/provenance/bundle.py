"""A bundle, here or elsewhere: its own files held against its md5s, and what its config.json says that made it."""

import json
from pathlib import Path
from typing import Any

from mosaic_pipeline.bundle_files import CARD, CONFIG, MEND, read_md5s
from mosaic_pipeline.provenance.hashing import Hasher
from mosaic_pipeline.provenance.node import Node, State
from mosaic_pipeline.reading import read_text, reading

FILE = "file of the bundle"


def read_provenance(folder: Path) -> dict[str, Any]:
    """Return what a bundle says of its origin: revision, md5 of model, configuration and weights, and of the data."""
    path = folder / CONFIG
    text = read_text(path, MEND)
    with reading(path, MEND):
        manifest = json.loads(text)
        origin = manifest["provenance"]
        return {"variant": manifest["variant"], "seed": manifest["seed"], "revision": origin["revision"]} | {
            "md5": {str(key): str(value) for key, value in origin["md5"].items()}
        }


def own_files(folder: Path, hasher: Hasher) -> list[Node]:
    """Return the files that md5sums.txt lists, each hashed again."""
    return [_file(folder / name, md5, hasher) for name, md5 in sorted(read_md5s(folder).items())]


def _file(path: Path, md5: str, hasher: Hasher) -> Node:
    if not path.is_file():
        return Node(FILE, path.name, State.RECORDED, md5, why="it is not here")
    found = hasher.md5(path)
    if found == md5:
        state, why = State.VERIFIED, ""
    elif path.name == CARD:
        state, why = State.RECORDED, "it was edited, as a card may be"
    else:
        state, why = State.DIFFERS, f"its md5 is {found}, not {md5}"
    return Node(FILE, path.name, state, md5, path.stat().st_size, why=why)
