"""Stage `download`: the data source, or files of one's own -> data/raw/<dataset>.npz."""

from pathlib import Path

from mosaic_pipeline.arguments import DATASET, read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.data.npz import read_notes
from mosaic_pipeline.data.sources import fetch, verifies
from mosaic_pipeline.declared import read_source
from mosaic_pipeline.layout import RAW
from mosaic_pipeline.params import load_params


def main() -> None:
    """Fetch, generate or read one dataset's npz."""
    (name,) = read_arguments("download", __doc__, DATASET)
    bring(name, RAW)


def bring(name: str, folder: Path) -> None:
    """Fetch, generate or read the npz of a dataset that params.yaml names, into a folder."""
    params, source = load_params(), read_source(name)
    dataset, data = source.dataset, source.data(params.data)
    target = folder / f"{name}.npz"
    counts = fetch(dataset, data, params.phantom, target, own=source.own)

    shape = "x".join(map(str, dataset.image_shape(data.size(dataset.dimension))))
    images = ", ".join(f"{count} {split}" for split, count in counts.items())
    if source.own:
        origin = source.own.path
    else:
        checked = "official md5 verified" if verifies(data) else "not compared with the official md5"
        origin = f"{data.source}, {checked}"
    print(f"{target}: {images} images of {shape} from {origin}")
    for note in read_notes(target) if source.own else ():
        print(f"  {note}")


if __name__ == "__main__":
    run_command(main)
