"""Predict images and volumes with a bundle: `mosaic predict <bundle> <folder or file> --dataset <name> -o out.csv`."""

import argparse
import sys
from pathlib import Path

from mosaic_pipeline.arguments import CommandParser
from mosaic_pipeline.command import run_command
from mosaic_pipeline.errors import PipelineError


def main() -> None:
    """Write a table with a row for each image; one that cannot be read has a row that says why, and ends in status 2.

    An interrupted run is continued; rows that are there are not made again.
    """
    parser = CommandParser("predict", __doc__)
    parser.add_argument("bundle", type=Path, help="a folder that `mosaic bundle` wrote")
    parser.add_argument("place", type=Path, help="PNG, JPEG, TIFF, BMP, npy, npz, NIfTI, DICOM, or a folder with such")
    parser.add_argument(
        "--dataset",
        required=True,
        help="the dataset of the training that the images are like, or auto: which is proposed for each",
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("predictions.csv"), help="default: predictions.csv")
    parser.add_argument("--array", help="the array of an npz; default: all that are called images")
    parser.add_argument("--fit", choices=("pad", "stretch", "crop"), help="for images that are not square")
    parser.add_argument("--window", type=_window, help="LOW,HIGH: the values of black and white; each: an image's own")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps; default: auto")
    parser.add_argument("--batch-size", type=_positive, default=64, help="images at a time; default: 64")
    arguments = parser.parse_args()

    # Heavy imports wait until the arguments are known to be good.
    from tqdm import tqdm

    from mosaic_pipeline.atomic import try_places
    from mosaic_pipeline.bundle import load_bundle
    from mosaic_pipeline.bundle.load import AUTO
    from mosaic_pipeline.prediction.auto import Auto, find_unsaid
    from mosaic_pipeline.prediction.places import count, find_places
    from mosaic_pipeline.prediction.run import Question, Told, predict_places
    from mosaic_pipeline.prediction.table import Table

    bundle = load_bundle(arguments.bundle, arguments.device)
    asked = {"fit": arguments.fit, "window": arguments.window}
    update = {key: value for key, value in asked.items() if value}
    question: Question
    if arguments.dataset == AUTO and AUTO not in bundle.datasets:
        dimension, places, passed = find_unsaid(bundle, arguments.place, arguments.array)
        alike = {
            name: known for name, known in bundle.manifest.datasets.items() if known.preparation.dimension == dimension
        }
        preparations = {name: known.preparation.model_copy(update=update) for name, known in alike.items()}
        question, same, told = Auto(preparations, arguments.array, dimension), {}, "the datasets proposed"
    else:
        preparation = bundle.known(arguments.dataset).preparation.model_copy(update=update)
        places, passed = find_places(arguments.place, preparation.dimension)
        question = Told(arguments.dataset, preparation, arguments.array)
        same, told = {"dataset": arguments.dataset}, arguments.dataset
    try_places(arguments.out)
    same |= {"model": bundle.manifest.provenance.md5["model"]}
    table = Table(arguments.out, question.columns(bundle), same)
    table.check_files({place.name for place in places})
    total = sum(count(place, arguments.array) for place in places)
    with table, tqdm(total=total, unit="img", dynamic_ncols=True, disable=not sys.stderr.isatty()) as bar:
        keys, done = predict_places(bundle, places, question, table, arguments.batch_size, bar)
        table.finish(keys)
    wrong = [key for key in keys if table.rows[key]["error"]]
    said = f"{arguments.out}: {len(keys) - len(wrong):,} predicted as {told}"
    print(said + (f", {done:,} of them before" if done else ""))
    if passed:
        print(f"{len(passed):,} file{'s' * (len(passed) > 1)} passed over, by name no image: {passed[0]}")
    if wrong:
        file, item = wrong[0]
        raise PipelineError(
            f"{arguments.out}: {len(wrong):,} of {len(keys):,} could not be predicted (column `error`); the first: "
            f"{file}{f' {item}' if item else ''}: {table.rows[wrong[0]]['error']}"
        )


def _window(text: str) -> tuple[float, float] | str:
    if text == "each":
        return text
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither LOW,HIGH nor each") from None
    if not -1e30 < low < high < 1e30:
        raise argparse.ArgumentTypeError(f"{text!r}: LOW must be below HIGH")
    return low, high


def _positive(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of images (1 to 65536)")
    return int(text)


if __name__ == "__main__":
    run_command(main)
