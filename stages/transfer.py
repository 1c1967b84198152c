"""Stage `transfer`: one external dataset through one variant and seed -> evaluation/<variant>/<seed>/transfer/."""

from typing import TYPE_CHECKING

from mosaic_pipeline.arguments import EXTERNAL, SEED, VARIANT, read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.params import load_params

if TYPE_CHECKING:
    import numpy as np


def main() -> None:
    """Fit a head to an external dataset on the frozen deployed model, by each way through it, and test it."""
    variant, seed, name = read_arguments("transfer", __doc__, VARIANT, SEED, EXTERNAL)
    params = load_params()
    params.check_known(variant, seed)
    params.check_listed("external", name)

    # Heavy imports wait until the parameters are known to be good.
    from tqdm import tqdm

    from mosaic_pipeline.atomic import try_places
    from mosaic_pipeline.compute import pick_device
    from mosaic_pipeline.config import load_config
    from mosaic_pipeline.data.batches import open_splits
    from mosaic_pipeline.evaluation.features import own_specialist, ways
    from mosaic_pipeline.evaluation.summary import write_summary
    from mosaic_pipeline.evaluation.transfer import constant_accuracy, run_transfer
    from mosaic_pipeline.forms import read_form
    from mosaic_pipeline.layout import EXTERNAL_TEST, EXTERNAL_TRAINING, config_file, transfer_file
    from mosaic_pipeline.lineage import check_splits, data_digest, read_origin
    from mosaic_pipeline.tracking import Inputs, headline, tracked_run
    from mosaic_pipeline.training.deployed import load_deployed
    from mosaic_pipeline.training.model_file import read_trained
    from mosaic_pipeline.training.stopping import MONITORED

    target = transfer_file(variant, seed, name, "json")
    try_places(target, target.with_suffix(".npz"))
    config = load_config(config_file(variant)).for_seed(seed)
    training = read_trained(variant, seed, config.datasets)
    origin = read_origin(name, EXTERNAL_TRAINING, EXTERNAL_TEST)
    dataset = read_form(name, origin["form"])
    device = pick_device(params.compute)
    train, val = open_splits(EXTERNAL_TRAINING, {name: dataset}, ("train", "val"), device)
    (test,) = open_splits(EXTERNAL_TEST, {name: dataset}, ("test",), device)
    for cached, split, opened in (
        (EXTERNAL_TRAINING, "train", train),
        (EXTERNAL_TRAINING, "val", val),
        (EXTERNAL_TEST, "test", test),
    ):
        check_splits(cached, split, opened, {name: dataset})
    splits = {"train": train[name], "val": val[name], "test": test[name]}
    own = own_specialist(config.routing, dataset, origin["specialist"])
    taken, md5 = ways(config.routing, config.datasets, dataset, own), training["md5"]
    head = {"variant": variant, "seed": seed, "dataset": name, "deployed": training["deployed"], "md5": md5}
    head |= {"own": own, "constant_acc": constant_accuracy(dataset, test[name].labels.cpu().numpy()), "data": origin}
    if not taken:
        # A run without a metric would be in everyone's way in MLflow; DVC wants the files all the same.
        write_summary(target, head | {"heads": []}, {})
        print(f"{variant}, seed {seed}: trained on no {dataset.dimension}D dataset, so {name} has no way through it")
        return
    model = load_deployed(config, variant, seed, training["deployed"], device)

    with tracked_run(
        "transfer",
        f"{variant}-{seed}-{name}",
        params.tracking,
        tags={"variant": variant, "seed": str(seed), "external": name, "deployed": training["deployed"]}
        | {f"md5.{key}": value for key, value in md5.items()},
        note=headline(variant, seed, params.ablation.reasons()[variant], f"transfer to {name}"),
        inputs=Inputs("testing", {name: origin["source"]}, {name: data_digest(EXTERNAL_TEST / name)}),
        parent_model_md5=md5["model"],
    ) as run:
        heads = []
        arrays: dict[str, np.ndarray] = {}
        for place, way in enumerate(tqdm(taken, name, leave=False, disable=None)):
            result = run_transfer(
                model,
                splits,
                dataset,
                way,
                config=config,
                batch_size=params.compute.eval_batch_size,
                monitored=MONITORED[config.train.monitor],
            )
            heads.append(record := result.record())
            arrays |= {f"{place}/scores": result.scores, f"{place}/contributions": result.contributions()}
            values = {key: record[key] for key in ("val_score", "acc", "auc") if record[key] is not None}
            run.log_metrics({f"transfer/{name}/{way.name}/{key}": each for key, each in values.items()}, dataset=name)
            shown = ", ".join(f"{key} {value:.4f}" for key, value in values.items())
            tqdm.write(f"{name} by {way.name}: n {len(result.labels)}, {shown}")
        arrays["labels"] = splits["test"].labels.cpu().numpy()
        write_summary(target, head | {"heads": heads}, arrays)


if __name__ == "__main__":
    run_command(main)
