"""Stage `seg_index`: the NIfTI files of one set -> segmentation/index/<dataset>.json.

Phantoms are written first, below segmentation/raw, so that they are read as anybody's scans are.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from mosaic_pipeline.arguments import SCAN_SET, read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.layout import SCANS, index_file
from mosaic_pipeline.params import load_params
from mosaic_pipeline.segmentation.data.splits import BY_SLICES, SPLITS
from mosaic_pipeline.segmentation.sources import find_set, scan_folder, splitter


def main() -> None:
    """List the scans of one set, case by case, each held against what can be wrong with one."""
    (name,) = read_arguments("segmentation.index", __doc__, SCAN_SET)
    section = load_params().segmentation
    section.check_listed(name)

    # Heavy imports wait until the parameters are known to be good.
    from mosaic_pipeline.segmentation.data.index import build_index, write_index

    if section.data.source == "phantom":
        from mosaic_pipeline.segmentation.data.phantom import write_phantoms

        counts = {split: getattr(section.phantom, split) for split in ("train", "val", "test")}
        write_phantoms(SCANS / name, find_set(section, name), section.phantom.size, counts)
    else:
        (SCANS / name).mkdir(parents=True, exist_ok=True)  # an output of the stage: nothing is copied
    dataset, folder = find_set(section, name), scan_folder(section, name)
    index = build_index(
        folder,
        dataset,
        splitter(section, name),
        source=section.data.source,
        case_limit=section.data.case_limit,
        progress=lambda cases: tqdm(cases, desc=name, unit="case", disable=not sys.stderr.isatty()),
    )
    write_index(index_file(name), index)
    by_slices = any("block" in case for case in index["cases"])
    counted = f"{_counted(index['cases'])}{' slices' if by_slices else ''}"
    cases = len({case["case"] for case in index["cases"]})
    print(f"{index_file(name)}: {cases} cases ({counted}) of {dataset.modality}, {len(dataset.organs)} organs")
    if by_slices:
        print(f"warning: {name}: {BY_SLICES}", file=sys.stderr)
    for finding in index["findings"]:
        print(f"warning: {name}: {finding}", file=sys.stderr)


def _counted(cases: Sequence[Mapping[str, Any]]) -> str:
    """Say how many cases there are of each split; or slices, of cases in blocks."""
    numbers = dict.fromkeys(SPLITS, 0)
    for case in cases:
        start, end = case.get("block", (0, 1))
        numbers[case["split"]] += end - start
    return ", ".join(f"{number} {split}" for split, number in numbers.items())


if __name__ == "__main__":
    run_command(main)
