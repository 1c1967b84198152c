"""List what is wrong with a folder of scans and label maps: `mosaic check-scans FOLDER`."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from mosaic_pipeline.arguments import CommandParser
from mosaic_pipeline.command import run_command
from mosaic_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from mosaic_pipeline.segmentation.data.folders import Files


def main() -> None:
    """Print a line for everything that is wrong, and end with an error if anything is; else what was found."""
    parser = CommandParser("check-scans", __doc__)
    parser.add_argument("folder", type=Path, help="the folder that a download was unpacked to")
    parser.add_argument("--dataset", help="a set by its name, or one of segmentation.data.custom: checks label ids too")
    parser.add_argument("--splits", type=Path, help="a file that says which case trains, validates and tests")
    arguments = parser.parse_args()

    # nibabel imports scipy.
    from mosaic_pipeline.segmentation.custom import find_set
    from mosaic_pipeline.segmentation.data.check import check_folder

    dataset = find_set(arguments.dataset, arguments.folder) if arguments.dataset else None
    checked = check_folder(arguments.folder, dataset, arguments.splits, progress=_bar)
    for line in (*checked.problems, *checked.summary):
        print(line)
    if n := len(checked.problems):
        raise PipelineError(f"{arguments.folder}: {n:,} thing{'s are' if n > 1 else ' is'} wrong")


def _bar(cases: "Sequence[Files]") -> "Iterable[Files]":
    return tqdm(cases, desc="cases", dynamic_ncols=True, disable=not sys.stderr.isatty())


if __name__ == "__main__":
    run_command(main)
