"""Bytes hashed again: files, and folders as DVC hashes them. On a terminal a large file has a progress bar."""

import json
import sys
from pathlib import Path

from mosaic_pipeline.digest import md5_file, md5_text
from mosaic_pipeline.provenance.lock import FOLDER

LARGE = 64 << 20  # bytes from which a file has a bar: a second or less without
# What DVC passes over in a folder: .dvcignore, and DVC's and git's own.
PASSED_OVER = (".dvc", ".git", "__pycache__")


class Hasher:
    """Hashes each file once, for however many nodes it stands."""

    def __init__(self) -> None:
        """Nothing is hashed yet."""
        self._known: dict[Path, str] = {}

    def md5(self, path: Path) -> str:
        """Return the md5 of a file or, with `.dir` behind it, of a folder as DVC defines it."""
        if path not in self._known:
            self._known[path] = self._folder(path) if path.is_dir() else _file(path)
        return self._known[path]

    def _folder(self, folder: Path) -> str:
        listed = [
            {"md5": self.md5(file), "relpath": file.relative_to(folder).as_posix()}
            for file in sorted(folder.rglob("*"))
            if file.is_file() and not _passed_over(file.relative_to(folder))
        ]
        listed.sort(key=lambda entry: entry["relpath"])
        return md5_text(json.dumps(listed, sort_keys=True)) + FOLDER


def _passed_over(path: Path) -> bool:
    hidden = path.name.startswith(".") and (".tmp" in path.name or path.name.endswith(".partial"))
    return hidden or any(part in PASSED_OVER for part in path.parts)


def _file(path: Path) -> str:
    size = path.stat().st_size
    if size < LARGE or not sys.stderr.isatty():
        return md5_file(path)
    from tqdm import tqdm

    with tqdm(total=size, unit="B", unit_scale=True, desc=path.name, leave=False) as bar:
        return md5_file(path, bar.update)
