"""The cache: each split as plain .npy arrays, which training maps into memory instead of loading.

What training reads and the test split are folders of their own, neither of which says anything about the other: with
another test split the training's files keep their bytes.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.atomic import appearing, atomic, write_text
from mosaic_pipeline.data import official
from mosaic_pipeline.data.findings import (
    Seen,
    find,
    find_trained,
    refuse_constant,
    refuse_leakage,
    refuse_one_class,
    refuse_trained,
)
from mosaic_pipeline.data.npz import check_npz, read_image_blocks, read_labels, read_notes, read_patients
from mosaic_pipeline.data.subset import stratified_subset
from mosaic_pipeline.datasets import SPLITS, About, Dataset, SplitName
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.params import Data


def build_cache(
    raw: Path,
    training: Path,
    test: Path,
    dataset: Dataset,
    about: About,
    data: Data,
    trained: Mapping[str, NDArray[np.uint64]] = {},
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Unpack an npz into two folders and return what the meta.json of `training` and that of `test` say.

    `training` gets the splits train and val, `test` the split test: `<split>_images.npy` (uint8 [N,S,S], [N,S,S,3] or
    [N,S,S,S]), `<split>_labels.npy` (int64 [N,L]) and meta.json with the dataset's form, their md5s and what is odd
    about them, the same bytes for the same input; only that of `test` says what is said `about` the dataset. Images
    pass through in blocks, so memory stays flat whatever the size. The folders appear whole or not at all. Raises
    PipelineError if `raw` is not in the official layout, or cannot be meant to be trained and tested on: one class,
    constant images, test images that are seen before the test. An external dataset is held against the hashes of the
    images that models are `trained` on.
    """
    size = data.size(dataset.dimension)
    counts = check_npz(raw, dataset, size)
    raw_md5 = md5_file(raw)
    is_official = official.is_official(dataset, size, raw_md5)
    rows: dict[SplitName, NDArray[np.int64]] = {}
    seen: dict[SplitName, Seen] = {}
    source: str = data.source  # "own" of one of one's own, which params.yaml may not say
    for split in SPLITS:
        labels = read_labels(raw, split)
        if split == "train":
            refuse_one_class(raw, dataset, labels)
        rows[split] = stratified_subset(labels, data.limit(split))
        patients = read_patients(raw, split) if source == "own" else None
        seen[split] = Seen(labels[rows[split]], None if patients is None else patients[rows[split]])
    with appearing(training) as for_training, appearing(test) as for_test:
        folders: dict[SplitName, Path] = {"train": for_training, "val": for_training, "test": for_test}
        splits = {}
        for split, folder in folders.items():
            images = seen[split].watch(_kept(read_image_blocks(raw, split), rows[split]))
            md5 = {
                "labels": _write_npy(folder / f"{split}_labels.npy", [seen[split].labels], len(rows[split])),
                "images": _write_npy(folder / f"{split}_images.npy", images, len(rows[split])),
            }
            splits[split] = {"n": len(rows[split]), "of": counts[split], "md5": md5}
            refuse_constant(raw, split, seen[split])
        if not (is_official or data.allow_leakage):
            refuse_leakage(raw, seen, rows)
        if not data.allow_leakage:
            refuse_trained(raw, seen, trained, rows)
        findings = [*find(dataset, seen), *(finding for finding, _ in find_trained(seen, trained))]

        def found_in(*names: SplitName) -> dict[str, Any]:
            of_names = [finding.record() for finding in findings if finding.split in names]
            return {"splits": {name: splits[name] for name in names}, "findings": of_names}

        head = {"dataset": dataset.name, "source": data.source, "size": size, "form": dataset.form()}
        of_training = head | found_in("train", "val")
        # The md5 of the whole file, and whether it is the official one, change with the test split; a title may change
        # without another training.
        of_test = head | {"official": is_official, "raw_md5": raw_md5} | about.record() | found_in("test")
        of_test["notes"] = read_notes(raw) if source == "own" else []
        for folder, meta in ((for_training, of_training), (for_test, of_test)):
            write_text(folder / "meta.json", json.dumps(meta, indent=2) + "\n")
    return of_training, of_test


def _kept(blocks: Iterable[NDArray], rows: NDArray[np.int64]) -> Iterator[NDArray]:
    """Yield the given sorted rows of an array that comes in consecutive blocks, block by block."""
    start = 0
    for block in blocks:
        first, last = np.searchsorted(rows, (start, start + len(block)))
        yield np.ascontiguousarray(block[rows[first:last] - start])
        start += len(block)


def _write_npy(path: Path, blocks: Iterable[NDArray], count: int) -> str:
    """Write `count` rows that come in C-contiguous blocks as one .npy file; return its md5.

    Written as a stream, not through a memory map: on a full disk a write raises, a mapped page kills the process.
    """
    digest = hashlib.md5()
    with atomic(path) as temporary, open(temporary, "wb") as file:
        for part in _npy(blocks, count):
            file.write(part)
            digest.update(part)
    return digest.hexdigest()


def _npy(blocks: Iterable[NDArray], count: int) -> Iterator[bytes | memoryview]:
    """Yield an .npy file in parts: its header, then the blocks."""
    for index, block in enumerate(blocks):
        if index == 0:
            header = io.BytesIO()
            description = {
                "descr": np.lib.format.dtype_to_descr(block.dtype),
                "fortran_order": False,
                "shape": (count, *block.shape[1:]),
            }
            np.lib.format.write_array_header_1_0(header, description)
            yield header.getvalue()
        yield block.data
