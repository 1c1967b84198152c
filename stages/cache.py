"""Stage `cache`: data/raw/<dataset>.npz -> data/cached/<dataset>/."""

import argparse

from pipeline.command import run_command
from pipeline.data.cache import build_cache
from pipeline.datasets import DATASETS
from pipeline.layout import CACHED, RAW
from pipeline.params import load_params


def main() -> None:
    """Unpack one dataset's npz into memory-mappable arrays."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", choices=DATASETS, metavar="dataset")
    name = parser.parse_args().dataset

    params = load_params()
    meta = build_cache(RAW / f"{name}.npz", CACHED / name, DATASETS[name], params.data)

    images = ", ".join(f"{counts['n']} of {counts['of']} {split}" for split, counts in meta["splits"].items())
    kind = "the official file" if meta["official"] else "not an official file"
    print(f"{CACHED / name}: {images} images at {meta['size']} from {meta['source']}, {kind}")


if __name__ == "__main__":
    run_command(main)
