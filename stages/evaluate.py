"""Stage `evaluate`: test one variant and seed on the datasets of one specialist -> evaluation/<variant>/<seed>/."""

from mosaic_pipeline.arguments import SEED, SPECIALIST, VARIANT, read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.params import load_params


def main() -> None:
    """Score the deployed model on the test split of one specialist's datasets; temperatures come from validation."""
    variant, seed, specialist = read_arguments("evaluate", __doc__, VARIANT, SEED, SPECIALIST)
    params = load_params()
    params.check_known(variant, seed, specialist)

    # Heavy imports wait until the parameters are known to be good.
    from mosaic_pipeline.atomic import try_places
    from mosaic_pipeline.compute import pick_device
    from mosaic_pipeline.config import load_config
    from mosaic_pipeline.data.batches import open_splits
    from mosaic_pipeline.evaluation.outputs import SUFFIXES, write_outputs
    from mosaic_pipeline.evaluation.test_set import run_test
    from mosaic_pipeline.layout import TEST_DATA, TRAINING_DATA, config_file, evaluation_file
    from mosaic_pipeline.lineage import check_splits, data_digest, read_origin
    from mosaic_pipeline.tracking import Inputs, headline, measured, tracked_run
    from mosaic_pipeline.tracking.tested import log_test_means
    from mosaic_pipeline.training.deployed import load_deployed
    from mosaic_pipeline.training.model_file import read_trained

    try_places(*(evaluation_file(variant, seed, specialist, suffix) for suffix in SUFFIXES))
    config = load_config(config_file(variant)).for_seed(seed)
    training = read_trained(variant, seed, config.datasets)
    origins = {name: read_origin(name) for name in config.datasets}
    datasets = {name: form for name, form in config.datasets.items() if origins[name]["specialist"] == specialist}
    md5 = training["md5"]
    head = {"variant": variant, "seed": seed, "specialist": specialist, "deployed": training["deployed"], "md5": md5}
    if not datasets:
        # A run without a metric would be in everyone's way in MLflow; DVC wants the files all the same.
        write_outputs(head, {}, [])
        print(f"{variant}, seed {seed}: specialist {specialist} has no dataset, so nothing is tested")
        return
    device = pick_device(params.compute)
    (validation,) = open_splits(TRAINING_DATA, datasets, ("val",), device)
    (test,) = open_splits(TEST_DATA, datasets, ("test",), device)
    check_splits(TRAINING_DATA, "val", validation, datasets)
    check_splits(TEST_DATA, "test", test, datasets)
    model = load_deployed(config, variant, seed, training["deployed"], device)
    inputs = Inputs(
        "testing",
        {name: origins[name]["source"] for name in datasets},
        {name: data_digest(TEST_DATA / name) for name in datasets},
    )

    with tracked_run(
        "evaluate",
        f"{variant}-{seed}-{specialist}",
        params.tracking,
        tags={"variant": variant, "seed": str(seed), "specialist": specialist, "deployed": training["deployed"]}
        | {f"md5.{name}": value for name, value in md5.items()},
        note=headline(variant, seed, params.ablation.reasons()[variant], f"test of {specialist}"),
        inputs=inputs,
        parent_model_md5=md5["model"],
    ) as run:
        tested, records = [], {}
        for name, dataset in datasets.items():
            result = run_test(
                model,
                test[name],
                dataset,
                validation=validation[name],
                config=config,
                batch_size=params.compute.eval_batch_size,
            )
            tested.append(result)
            records[name] = result.record() | {"data": origins[name]}
            values = {key: value for key, value in result.values().items() if value is not None}
            run.log_metrics({f"test/{name}/{key}": value for key, value in values.items()}, dataset=name)
            shown = ", ".join(f"{key} {values[key]:.4f}" for key in ("acc", "auc", "loss") if key in values)
            print(f"{name}: n {len(result.labels)}, {shown}", flush=True)
        write_outputs(head, records, tested)
        told = {name: measured({key: record[key] for key in ("acc", "auc")}) for name, record in records.items()}
        run.describe("Test", "; ".join(f"{name} {values}" for name, values in told.items()))
        log_test_means(run, variant, seed, config, md5["model"])


if __name__ == "__main__":
    run_command(main)
