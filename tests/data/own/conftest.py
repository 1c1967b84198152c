"""Declarations of small datasets, files that people have, and what is made of them."""

import csv

import numpy as np
import pytest
from PIL import Image

from mosaic_pipeline.data.own.build import write_own
from mosaic_pipeline.own import Own

DECLARED = {
    "title": "Mine",
    "dimension": 2,
    "channels": 1,
    "task": "binary-class",
    "classes": ["benign", "malignant"],
    "specialist": "D",
    "licence": "CC0",
    "path": "files",
    "kind": "csv",
    "size": 8,
}


def _declare(**changes):
    return Own.model_validate(DECLARED | changes)


def _pixels(n, *shape, dtype=np.uint8, seed=0):
    """Images [n,*shape] that all differ, over the whole range of their type."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.random((n, *shape)).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, (n, *shape), dtype=dtype, endpoint=True)


def _write_csv(path, rows, header=("file", "label"), **options):
    with open(path, "w", encoding=options.pop("encoding", "utf-8"), newline="") as file:
        writer = csv.writer(file, **options)
        writer.writerows([header, *rows])


@pytest.fixture
def declare():
    return _declare


@pytest.fixture
def pixels():
    return _pixels


@pytest.fixture
def write_csv():
    return _write_csv


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working directory, a repository's root, with an empty folder `files`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "files").mkdir()
    (tmp_path / "raw").mkdir()
    return tmp_path


@pytest.fixture
def built(place):
    """Build a declaration at a size and return the arrays of its npz by name, `notes` as one text."""

    def build(own, size=None, name="mine"):
        write_own(place / "raw" / f"{name}.npz", name, own, size or own.size)
        with np.load(place / "raw" / f"{name}.npz") as npz:
            return {key: " ".join(npz[key].tolist()) if key == "notes" else npz[key] for key in npz.files}

    return build


@pytest.fixture
def pngs(place):
    """Thirty PNG files of 8 x 8 in `files`, with a CSV that says a class of each."""
    images = _pixels(30, 8, 8)
    for index, image in enumerate(images):
        Image.fromarray(image).save(place / "files" / f"{index:02}.png")
    _write_csv(
        place / "files" / "labels.csv",
        [(f"{index:02}.png", DECLARED["classes"][index % 3 == 0]) for index in range(30)],
    )
    return images
