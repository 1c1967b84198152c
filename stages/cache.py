"""Stage `cache`: data/raw/<dataset>.npz -> data/cached/training/<dataset>/ and data/cached/test/<dataset>/."""

import sys
from collections.abc import Sequence
from pathlib import Path

from mosaic_pipeline.arguments import DATASET, read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.data.cache import build_cache
from mosaic_pipeline.data.findings import Finding, describe
from mosaic_pipeline.data.trained import trained_images
from mosaic_pipeline.declared import read_about, read_source
from mosaic_pipeline.layout import RAW, TEST_DATA, TRAINING_DATA
from mosaic_pipeline.params import load_params


def main() -> None:
    """Unpack one dataset's npz into memory-mappable arrays: what training reads, and the test split."""
    (name,) = read_arguments("cache", __doc__, DATASET)
    unpack(name, RAW, TRAINING_DATA, TEST_DATA)


def unpack(name: str, raw: Path, for_training: Path, for_test: Path, trained: Sequence[Path] = ()) -> None:
    """Unpack the npz in the folder `raw` of a dataset that params.yaml names into a folder below each of the others.

    It is held against the datasets that models are trained on, whose folders of what training reads are `trained`.
    """
    params = load_params()
    source, about = read_source(name), read_about(name)
    dataset = source.dataset
    data = source.data(params.data)
    known = trained_images(trained, dataset.image_shape(data.size(dataset.dimension)))
    training, test = build_cache(raw / f"{name}.npz", for_training / name, for_test / name, dataset, about, data, known)

    splits = training["splits"] | test["splits"]
    images = ", ".join(f"{counts['n']} of {counts['of']} {split}" for split, counts in splits.items())
    kind = "the official file" if test["official"] else "not an official file"
    print(f"{name}: {images} images at {test['size']} from {test['source']}, {kind}")
    for finding in (Finding(**record) for meta in (training, test) for record in meta["findings"]):
        said = describe(finding, splits[finding.split]["n"], dataset, test["class_names"])
        print(f"warning: {name}: {said}", file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
