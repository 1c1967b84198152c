"""The cache: each split as plain .npy arrays, which training maps into memory instead of loading.

What training reads and the test split are folders of their own, neither of which says anything about the other: with
another test split the training's files keep their bytes.
"""

import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic import atomic, write_text
from pipeline.data import official
from pipeline.data.npz import check_npz, read_image_blocks, read_labels
from pipeline.data.subset import stratified_subset
from pipeline.datasets import Dataset
from pipeline.digest import md5_file
from pipeline.params import Data


def build_cache(
    raw: Path, training: Path, test: Path, dataset: Dataset, data: Data
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Unpack an npz into two folders and return what the meta.json of `training` and that of `test` say.

    `training` gets the splits train and val, `test` the split test: `<split>_images.npy` (uint8 [N,S,S], [N,S,S,3] or
    [N,S,S,S]), `<split>_labels.npy` (int64 [N,L]) and meta.json with their md5s, the same bytes for the same input.
    Images pass through in blocks, so memory stays flat whatever the size. The folders appear whole or not at all.
    Raises PipelineError if `raw` is not in the official layout.
    """
    size = data.size(dataset.dimension)
    counts = check_npz(raw, dataset, size)
    raw_md5 = md5_file(raw)
    head = {"dataset": dataset.name, "source": data.source, "size": size}
    with _appearing(training) as for_training, _appearing(test) as for_test:
        splits = {
            split: {"n": n, "of": counts[split], "md5": md5}
            for split, folder in (("train", for_training), ("val", for_training), ("test", for_test))
            for n, md5 in (_unpack(raw, split, folder, data.limit(split)),)
        }
        # The md5 of the whole file, and whether it is the official one, change with the test split.
        of_training = head | {"splits": {split: splits[split] for split in ("train", "val")}}
        of_test = head | {
            "official": raw_md5 == official.published(dataset, size).md5,
            "raw_md5": raw_md5,
            "class_names": official.class_names(dataset),
            "splits": {"test": splits["test"]},
        }
        for folder, meta in ((for_training, of_training), (for_test, of_test)):
            write_text(folder / "meta.json", json.dumps(meta, indent=2) + "\n")
    return of_training, of_test


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder that replaces `folder` if the body succeeds."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    try:
        yield partial
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unpack(raw: Path, split: str, folder: Path, limit: int | None) -> tuple[int, dict[str, str]]:
    """Write the arrays of a split; return the number of images kept and the md5 of each file."""
    labels = read_labels(raw, split)
    rows = stratified_subset(labels, limit)
    blocks = {"labels": [labels], "images": read_image_blocks(raw, split)}
    md5 = {kind: _write_rows(folder / f"{split}_{kind}.npy", blocks[kind], rows) for kind in blocks}
    return len(rows), md5


def _write_rows(path: Path, blocks: Iterable[NDArray], rows: NDArray[np.int64]) -> str:
    """Write the given sorted rows of an array that comes in consecutive blocks as one .npy file; return its md5.

    Written as a stream, not through a memory map: on a full disk a write raises, a mapped page kills the process.
    """
    digest = hashlib.md5()
    with atomic(path) as temporary, open(temporary, "wb") as file:
        for part in _npy(blocks, rows):
            file.write(part)
            digest.update(part)
    return digest.hexdigest()


def _npy(blocks: Iterable[NDArray], rows: NDArray[np.int64]) -> Iterator[bytes | NDArray]:
    """Yield the .npy file of the given rows: its header, then their arrays."""
    start = 0
    for block in blocks:
        if start == 0:
            header = io.BytesIO()
            description = {
                "descr": np.lib.format.dtype_to_descr(block.dtype),
                "fortran_order": False,
                "shape": (len(rows), *block.shape[1:]),
            }
            np.lib.format.write_array_header_1_0(header, description)
            yield header.getvalue()
        first, last = np.searchsorted(rows, (start, start + len(block)))
        yield np.ascontiguousarray(block[rows[first:last] - start])
        start += len(block)
