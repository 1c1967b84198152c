"""Stage `recognise_external`: what the cases of an external dataset are proposed to be -> recognition/external/."""

from mosaic_pipeline.arguments import EXTERNAL, read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.params import load_params


def main() -> None:
    """Ask of an external dataset's test cases which dataset they are of; none of them is the right answer."""
    (name,) = read_arguments("recognise_external", __doc__, EXTERNAL)
    params = load_params()
    params.check_listed("external", name)

    # Heavy imports wait until the parameters are known to be good.
    import json

    from mosaic_pipeline.atomic import try_places, write_text
    from mosaic_pipeline.compute import pick_device
    from mosaic_pipeline.data.batches import open_splits
    from mosaic_pipeline.digest import md5_file
    from mosaic_pipeline.forms import read_form
    from mosaic_pipeline.layout import BACKBONE, EXTERNAL_TEST, RECOGNISER, recognition_file
    from mosaic_pipeline.lineage import check_splits, read_meta
    from mosaic_pipeline.recognition.file import read_recogniser
    from mosaic_pipeline.recognition.look import all_features, load_alone
    from mosaic_pipeline.recognition.trial import tally

    target = recognition_file(name)
    try_places(target)
    dataset = read_form(name, read_meta(EXTERNAL_TEST / name)["form"])
    device = pick_device(params.compute)
    (test,) = open_splits(EXTERNAL_TEST, {name: dataset}, ("test",), device)
    check_splits(EXTERNAL_TEST, "test", test, {name: dataset})
    backbone, _ = load_alone(params.model, params.compute.precision, device)
    weights = md5_file(BACKBONE)
    recogniser = read_recogniser(RECOGNISER, backbone.embed_dim, weights)

    features = all_features(backbone, test[name], recogniser.sight, params.compute.eval_batch_size)
    candidates = recogniser.candidates.get(dataset.dimension)
    found = tally(candidates.propose(features)) if candidates else {"proposed": {}, "none": len(features)}
    record = {"dataset": name, "weights": weights, "n": len(features)} | found
    write_text(target, json.dumps(record, indent=1) + "\n")
    print(f"{target}: {found['none']} of {len(features)} test cases are proposed to be of no dataset")


if __name__ == "__main__":
    run_command(main)
