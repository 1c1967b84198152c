"""The cache: each split as plain .npy arrays, which training maps into memory instead of loading."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic import atomic, write_text
from pipeline.data import official
from pipeline.data.npz import check_npz, read_image_blocks, read_labels
from pipeline.data.subset import stratified_subset
from pipeline.datasets import SPLITS, Dataset
from pipeline.digest import md5_file
from pipeline.params import Data


def build_cache(raw: Path, folder: Path, dataset: Dataset, data: Data) -> dict[str, Any]:
    """Unpack an npz into `folder` and return what its meta.json says.

    Writes `<split>_images.npy` (uint8 [N,S,S], [N,S,S,3] or [N,S,S,S]), `<split>_labels.npy` (int64 [N,L]) and
    meta.json, the same bytes for the same input. Images pass through in blocks, so memory stays flat whatever the
    size. The folder appears whole or not at all. Raises PipelineError if `raw` is not in the official layout.
    """
    size = data.size(dataset.dimension)
    counts = check_npz(raw, dataset, size)
    raw_md5 = md5_file(raw)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    try:
        splits = {}
        for split in SPLITS:
            labels = read_labels(raw, split)
            rows = stratified_subset(labels, data.limit(split))
            _write_rows(partial / f"{split}_labels.npy", [labels], rows)
            _write_rows(partial / f"{split}_images.npy", read_image_blocks(raw, split), rows)
            splits[split] = {"n": len(rows), "of": counts[split]}
        meta = {
            "dataset": dataset.name,
            "source": data.source,
            "size": size,
            "official": raw_md5 == official.published(dataset, size).md5,
            "raw_md5": raw_md5,
            "class_names": official.class_names(dataset),
            "splits": splits,
        }
        write_text(partial / "meta.json", json.dumps(meta, indent=2) + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return meta


def _write_rows(path: Path, blocks: Iterable[NDArray], rows: NDArray[np.int64]) -> None:
    """Write the given sorted rows of an array that comes in consecutive blocks as one .npy file.

    Written as a stream, not through a memory map: on a full disk a write raises, a mapped page kills the process.
    """
    with atomic(path) as temporary, open(temporary, "wb") as file:
        start = 0
        for block in blocks:
            if start == 0:
                header = {
                    "descr": np.lib.format.dtype_to_descr(block.dtype),
                    "fortran_order": False,
                    "shape": (len(rows), *block.shape[1:]),
                }
                np.lib.format.write_array_header_1_0(file, header)
            first, last = np.searchsorted(rows, (start, start + len(block)))
            file.write(np.ascontiguousarray(block[rows[first:last] - start]))
            start += len(block)
