"""What must not leave the machine in a file that is passed on: what opens an address, and absolute paths."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.provenance.snapshot import Snapshot
from mosaic_pipeline.redact import redacted

PARAMS = "params.yaml"
# An absolute path as whole value: of this system, of a home folder, or of Windows.
ABSOLUTE = re.compile(r"(?:file://)?(?:/|~|[A-Za-z]:[\\/]).+")


class Private:
    """Takes out of texts what a project's parameters, and the place where it lies, say of one machine."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Collect the absolute paths that stand in params.yaml and dvc.lock, the root and the home folder."""
        named = {value for value in _texts(snapshot) if ABSOLUTE.fullmatch(value)}
        places = {str(snapshot.root), *_home()} - {"/"}
        # The longest first: another may be the beginning of it.
        self._paths = sorted(named | places, key=len, reverse=True)

    def without(self, data: bytes) -> bytes:
        """Return a text without them, with the last part of each path in its place; other bytes as they are."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return data
        for path in self._paths:
            last = re.split(r"[\\/]", path.rstrip("\\/"))[-1] or "folder"
            # Not within an address, whose path may have the same parts.
            text = re.sub(rf"(?<![\w.]){re.escape(path)}", last, text)  # no backslash is in it
        return redacted(text).encode("utf-8")


def _home() -> Iterator[str]:
    with suppress(RuntimeError):  # a user whom the system does not know has none
        yield str(Path.home())


def _texts(snapshot: Snapshot) -> Iterator[str]:
    import yaml

    data = snapshot.committed(PARAMS) if snapshot.commit else snapshot.here(PARAMS)
    try:
        yield from _strings(yaml.safe_load(data or b""))
        for stage in snapshot.lock.stages.values():
            yield from _strings(stage.params)
    except (yaml.YAMLError, ValueError) as error:
        raise PipelineError(f"{PARAMS}: not valid YAML ({' '.join(str(error).split())})") from None


def _strings(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ():
        yield from _strings(part)
