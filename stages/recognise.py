"""Stage `recognise`: what the backbone alone sees in each dataset -> recognition/means.safetensors and test.json."""

from mosaic_pipeline.arguments import read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.params import load_params


def main() -> None:
    """Fit class means and limits to training and validation cases, and test what is proposed of test cases."""
    read_arguments("recognise", __doc__)
    params = load_params()

    # Heavy imports wait until the parameters are known to be good.
    import json

    from tqdm import tqdm

    from mosaic_pipeline.atomic import try_places, write_text
    from mosaic_pipeline.compute import pick_device
    from mosaic_pipeline.data.batches import open_splits
    from mosaic_pipeline.digest import md5_file
    from mosaic_pipeline.forms import read_form
    from mosaic_pipeline.layout import BACKBONE, RECOGNISER, RECOGNITION_TEST, TEST_DATA, TRAINING_DATA
    from mosaic_pipeline.lineage import check_splits, data_digest, read_meta
    from mosaic_pipeline.recognition.file import save_recogniser
    from mosaic_pipeline.recognition.look import load_alone, see
    from mosaic_pipeline.recognition.recogniser import ACCEPTED, Recogniser
    from mosaic_pipeline.recognition.trial import Seen, fit, records, shares
    from mosaic_pipeline.tracking import tracked_run

    try_places(RECOGNISER, RECOGNITION_TEST)
    metas = {name: read_meta(TRAINING_DATA / name) for name in params.data.datasets}
    datasets = {name: read_form(name, meta["form"]) for name, meta in metas.items()}
    device = pick_device(params.compute)
    train, val = open_splits(TRAINING_DATA, datasets, ("train", "val"), device)
    (test,) = open_splits(TEST_DATA, datasets, ("test",), device)
    for cached, split, opened in (
        (TRAINING_DATA, "train", train),
        (TRAINING_DATA, "val", val),
        (TEST_DATA, "test", test),
    ):
        check_splits(cached, split, opened, datasets)
    backbone, sight = load_alone(params.model, params.compute.precision, device)
    weights, batch_size = md5_file(BACKBONE), params.compute.eval_batch_size

    with tracked_run("recognise", "recognise", params.tracking, tags={"md5.weights": weights}) as run:
        seen: dict[int, dict[str, Seen]] = {}
        for name, dataset in (progress := tqdm(datasets.items(), "recognise", leave=False, disable=None)):
            progress.set_postfix_str(name)
            for folder, context in ((TRAINING_DATA, "training"), (TEST_DATA, "testing")):
                run.log_dataset(name, metas[name]["source"], data_digest(folder / name), context)
            found = see(backbone, (train[name], val[name], test[name]), dataset, sight, batch_size)
            seen.setdefault(dataset.dimension, {})[name] = found
        recogniser = Recogniser(
            {dimension: fit(of_dimension) for dimension, of_dimension in sorted(seen.items())}, sight
        )
        tallies = {name: tally for of_dimension in seen.values() for name, tally in records(of_dimension).items()}
        save_recogniser(RECOGNISER, recogniser, weights)
        summary = {"weights": weights, "accepted": ACCEPTED, "datasets": {name: tallies[name] for name in datasets}}
        write_text(RECOGNITION_TEST, json.dumps(summary, indent=1) + "\n")
        means = shares(tallies)
        run.log_metrics({f"recognise/{key}": value for key, value in means.items()})
    print(f"{RECOGNISER}: {', '.join(f'{key} {value:.4f}' for key, value in means.items() if value is not None)}")


if __name__ == "__main__":
    run_command(main)
