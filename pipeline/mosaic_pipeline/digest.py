"""Content digests: how files are named in lineage tags and lookups."""

import hashlib
from collections.abc import Callable
from pathlib import Path

MODEL_TAG = "md5.model"  # in MLflow, of a training and of all that tested or analysed its model


def md5_file(path: Path, read: Callable[[int], object] = lambda n: None) -> str:
    """Return the hex md5 of a file's bytes; `read` is told of each block how many it has."""
    return _file_digest(path, "md5", read)


def sha256_file(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    return _file_digest(path, "sha256")


def md5_text(text: str) -> str:
    """Return the hex md5 of a text as UTF-8."""
    return hashlib.md5(text.encode()).hexdigest()


def _file_digest(path: Path, algorithm: str, read: Callable[[int], object] = lambda n: None) -> str:
    """Read in blocks, so that a file may be larger than memory."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            read(len(block))
    return digest.hexdigest()
