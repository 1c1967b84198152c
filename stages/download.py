"""Stage `download`: the data source -> data/raw/<dataset>.npz."""

from pipeline.arguments import DATASET, read_arguments
from pipeline.command import run_command
from pipeline.data.sources import fetch, verifies
from pipeline.datasets import MEDMNIST
from pipeline.layout import RAW
from pipeline.params import load_params


def main() -> None:
    """Fetch or generate one dataset's npz."""
    (name,) = read_arguments("download", __doc__, DATASET)

    params = load_params()
    dataset = MEDMNIST[name]
    target = RAW / f"{name}.npz"
    counts = fetch(dataset, params.data, params.phantom, target)

    shape = "x".join(map(str, dataset.image_shape(params.data.size(dataset.dimension))))
    images = ", ".join(f"{count} {split}" for split, count in counts.items())
    checked = "official md5 verified" if verifies(params.data) else "not compared with the official md5"
    print(f"{target}: {images} images of {shape} from {params.data.source}, {checked}")


if __name__ == "__main__":
    run_command(main)
