"""Stage `seg_cache`: the scans of one set that train and validate -> segmentation/cached/<dataset>/."""

import sys

from tqdm import tqdm

from mosaic_pipeline.arguments import SCAN_SET, read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.layout import SLICES, index_file
from mosaic_pipeline.params import load_params
from mosaic_pipeline.segmentation.sources import find_intensity, scan_folder


def main() -> None:
    """Put the slices of one set on the network's grid."""
    (name,) = read_arguments("segmentation.cache", __doc__, SCAN_SET)
    section = load_params().segmentation
    section.check_listed(name)

    # Heavy imports wait until the parameters are known to be good.
    from mosaic_pipeline.segmentation.data.cache import Recipe, build_cache
    from mosaic_pipeline.segmentation.data.index import read_index

    index, data = read_index(index_file(name)), section.data
    intensity = find_intensity(section, name, index.labelled_set.modality)
    meta = build_cache(
        scan_folder(section, name),
        index,
        SLICES / name,
        Recipe(section.model.size, intensity, data.slices, data.empty_share, data.split.seed),
        progress=lambda cases: tqdm(cases, desc=name, unit="case", disable=not sys.stderr.isatty()),
    )
    train, val = (meta["splits"][split] for split in ("train", "val"))
    print(f"{SLICES / name}: {train['n']} of {train['of']} slices train, {val['n']} validate")


if __name__ == "__main__":
    run_command(main)
