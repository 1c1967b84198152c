"""Stage `seg_index`: NIfTI files of one set -> segmentation/index/<dataset>.json, and where they lie.

Phantoms are written first, as NIfTI, so that they are read as anybody's scans are.
"""

import sys

from tqdm import tqdm

from pipeline.arguments import SCAN_SET, read_arguments
from pipeline.command import run_command
from pipeline.layout import index_file
from pipeline.params import load_params


def main() -> None:
    """List the scans of one set, case by case, each held against what can go wrong with one."""
    (name,) = read_arguments("segmentation.index", __doc__, SCAN_SET)
    params = load_params()
    section = params.segmentation
    section.check_listed(name)

    # Heavy imports wait until the parameters are known to be good.
    from pipeline.segmentation.data.index import build_index, write_index
    from pipeline.segmentation.sources import find_folder, splitter

    folder, dataset, source = find_folder(section, name)
    progress = lambda cases: tqdm(cases, desc=name, unit="case", disable=not sys.stderr.isatty())  # noqa: E731
    index = build_index(
        folder,
        dataset,
        splitter(section, name, folder),
        source=source,
        case_limit=section.data.case_limit,
        progress=progress,
    )
    write_index(index_file(name), index)
    splits = [case["split"] for case in index["cases"]]
    counts = ", ".join(f"{splits.count(split)} {split}" for split in ("train", "val", "test"))
    print(f"{index_file(name)}: {len(splits)} cases ({counts}), {len(dataset.organs)} organs, {dataset.modality}")
    for finding in index["findings"]:
        print(f"warning: {name}: {finding}", file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
