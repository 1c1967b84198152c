"""Content digests: how a file or a folder is named in lineage tags and lookups."""

import hashlib
from pathlib import Path


def md5_file(path: Path) -> str:
    """Return the hex md5 of a file's bytes, read in blocks."""
    digest = hashlib.md5()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def md5_folder(path: Path) -> str:
    """Return one hex md5 for a folder: over the sorted relative names and md5s of its files."""
    listing = "".join(
        f"{file.relative_to(path).as_posix()} {md5_file(file)}\n" for file in sorted(path.rglob("*")) if file.is_file()
    )
    return hashlib.md5(listing.encode()).hexdigest()
