"""The files of a bundle, by name, and the md5s that it has of them; for those too who trace or copy one unloaded."""

import re
from pathlib import Path

from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.reading import read_text, reading

CONFIG, MODEL, BACKBONE, RECOGNITION, CARD, REQUIREMENTS, MD5S = (
    "config.json",
    "model.safetensors",
    "backbone.safetensors",
    "recognition.safetensors",
    "README.md",
    "requirements.txt",
    "md5sums.txt",
)
LOADED = (CONFIG, MODEL, BACKBONE, RECOGNITION)  # what predicting reads, if it is there
MEND = "get the bundle again from where it was made (`mosaic bundle`)"

_LINE = re.compile("([0-9a-f]{32})  (.+)")  # as `md5sum` writes and reads it


def is_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle."""
    return (folder / CONFIG).is_file() and (folder / MD5S).is_file()


def read_md5s(folder: Path) -> dict[str, str]:
    """Return the md5s that md5sums.txt has, by file.

    Raises PipelineError if that is missing or no such list, names a file outside of the folder, or says nothing of one
    that predicting would read.
    """
    path = folder / MD5S
    text = read_text(path, MEND)
    with reading(path, MEND):
        lines = [_LINE.fullmatch(line) for line in text.splitlines()]
        listed = {match[2]: match[1] for match in lines if match}
        if len(listed) < len(lines):
            raise ValueError("no list of md5s and files, each once")
        if any(Path(name).name != name for name in listed):
            raise ValueError("names a file outside of the bundle")
        for name in LOADED:
            if name not in listed and (name in (CONFIG, MODEL) or (folder / name).exists()):
                raise ValueError(f"says nothing of {name}")
    return listed


def write_md5s(folder: Path) -> None:
    """Write md5sums.txt of all files of a folder that has none yet."""
    listed = "".join(f"{md5_file(file)}  {file.name}\n" for file in sorted(folder.iterdir()))
    (folder / MD5S).write_text(listed, encoding="utf-8", newline="\n")
