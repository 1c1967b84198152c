"""What can become of a file: each of these returns a function that does it to one path of a project."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Change = Callable[[Path], None]


def missing(name: str) -> Change:
    """Neither file nor folder."""

    def change(project: Path) -> None:
        path = project / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def folder(name: str) -> Change:
    """A folder where a file should be."""

    def change(project: Path) -> None:
        (project / name).unlink(missing_ok=True)
        (project / name).mkdir()

    return change


def file(name: str) -> Change:
    """A file where a folder should be."""

    def change(project: Path) -> None:
        shutil.rmtree(project / name)
        (project / name).write_text("a file\n")

    return change


def loop(name: str) -> Change:
    """A link to itself: an OSError of neither a missing nor a forbidden file, for root too."""

    def change(project: Path) -> None:
        (project / name).unlink(missing_ok=True)
        (project / name).symlink_to((project / name).name)

    return change


def forbidden(name: str) -> Change:
    """Mode 000; no hindrance to root."""
    return lambda project: (project / name).chmod(0)


def written(name: str, content: str | bytes) -> Change:
    """Other content."""

    def change(project: Path) -> None:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def empty(name: str) -> Change:
    """A file of no bytes."""
    return written(name, b"")


def truncated(name: str, share: float = 0.5) -> Change:
    """The first part of the bytes."""
    return rewritten(name, lambda content: content[: int(len(content) * share)])


def rewritten(name: str, change: Callable[[bytes], bytes]) -> Change:
    """Bytes made of those that were there; they have to be others."""

    def write(project: Path) -> None:
        before = (project / name).read_bytes()
        after = change(before)
        assert after != before, f"{name}: the damage changes nothing"
        (project / name).write_bytes(after)

    return write


def replaced(name: str, old: str, new: str) -> Change:
    """Every `old` in a text made `new`."""
    return rewritten(name, lambda content: content.replace(old.encode(), new.encode()))


def flipped(name: str, bits: int = 100, seed: int = 0) -> Change:
    """Some bits, drawn, are others."""

    def change(content: bytes) -> bytes:
        changed, generator = bytearray(content), random.Random(seed)
        for place in generator.sample(range(8 * len(changed)), min(bits, 8 * len(changed))):
            changed[place // 8] ^= 1 << place % 8
        return bytes(changed)

    return rewritten(name, change)


def garbage(name: str, size: int = 1000, seed: int = 0) -> Change:
    """Random bytes."""
    return written(name, random.Random(seed).randbytes(size))


def set_json(name: str, key: str, value: Any) -> Change:
    """Another value at a dotted key of a JSON file; numbers are places in lists. NaN and infinities are written so."""
    return edited_json(name, lambda tree: _put(tree, key.split("."), value))


def without_json(name: str, key: str) -> Change:
    """A JSON file that lacks a dotted key."""
    return edited_json(name, lambda tree: _take(tree, key.split(".")))


def edited_json(name: str, edit: Callable[[Any], None]) -> Change:
    """A JSON file in which `edit` changed something."""

    def change(project: Path) -> None:
        tree = json.loads((project / name).read_text(encoding="utf-8"))
        edit(tree)
        (project / name).write_text(json.dumps(tree), encoding="utf-8")

    return change


def _at(tree: Any, keys: list[str]) -> Any:
    for key in keys:
        tree = tree[int(key) if isinstance(tree, list) else key]
    return tree


def _put(tree: Any, keys: list[str], value: Any) -> None:
    part = _at(tree, keys[:-1])
    part[int(keys[-1]) if isinstance(part, list) else keys[-1]] = value


def _take(tree: Any, keys: list[str]) -> None:
    part = _at(tree, keys[:-1])
    del part[int(keys[-1]) if isinstance(part, list) else keys[-1]]


def edited_npy(name: str, edit: Callable[[np.ndarray], np.ndarray]) -> Change:
    """An npy file that holds another array."""

    def change(project: Path) -> None:
        array = edit(np.load(project / name))
        np.save(project / name, array, allow_pickle=True)

    return change


def edited_npz(name: str, edit: Callable[[dict[str, np.ndarray]], None]) -> Change:
    """An npz file in whose arrays by name `edit` changed something."""

    def change(project: Path) -> None:
        with np.load(project / name) as archive:
            arrays = dict(archive)
        edit(arrays)
        with open(project / name, "wb") as stream:
            np.savez(stream, **arrays)

    return change


def both(*changes: Change) -> Change:
    """One damage after the other."""

    def change(project: Path) -> None:
        for each in changes:
            each(project)

    return change


def is_root() -> bool:
    """Whether permissions hinder nobody here."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
