"""Stage `corrupt`: test one variant and seed on corrupted images -> evaluation/<variant>/<seed>/corrupted/."""

from mosaic_pipeline.arguments import CORRUPTION, SEED, VARIANT, read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.params import load_params


def main() -> None:
    """Score the deployed model on the test split of every dataset, corrupted at each strength."""
    variant, seed, kind = read_arguments("corrupt", __doc__, VARIANT, SEED, CORRUPTION)
    params = load_params()
    params.check_known(variant, seed)
    params.check_listed("corruptions", kind)

    # Heavy imports wait until the parameters are known to be good.
    from tqdm import tqdm

    from mosaic_pipeline.atomic import try_places
    from mosaic_pipeline.compute import pick_device
    from mosaic_pipeline.config import load_config
    from mosaic_pipeline.data.batches import open_splits
    from mosaic_pipeline.data.corruptions import STRENGTHS
    from mosaic_pipeline.evaluation.robustness import run_corrupted
    from mosaic_pipeline.evaluation.summary import write_summary
    from mosaic_pipeline.layout import TEST_DATA, config_file, corrupted_file
    from mosaic_pipeline.lineage import check_splits, data_digest, read_meta
    from mosaic_pipeline.tracking import Inputs, headline, tracked_run
    from mosaic_pipeline.training.deployed import load_deployed
    from mosaic_pipeline.training.model_file import read_trained

    target = corrupted_file(variant, seed, kind, "json")
    try_places(target, target.with_suffix(".npz"))
    config = load_config(config_file(variant)).for_seed(seed)
    training = read_trained(variant, seed, config.datasets)
    device = pick_device(params.compute)
    (test,) = open_splits(TEST_DATA, config.datasets, ("test",), device)
    check_splits(TEST_DATA, "test", test, config.datasets)
    model = load_deployed(config, variant, seed, training["deployed"], device)
    md5 = training["md5"]
    head = {"variant": variant, "seed": seed, "corruption": kind, "deployed": training["deployed"], "md5": md5}

    inputs = Inputs(
        "testing",
        {name: read_meta(TEST_DATA / name)["source"] for name in config.datasets},
        {name: data_digest(TEST_DATA / name) for name in config.datasets},
    )

    with tracked_run(
        "corrupt",
        f"{variant}-{seed}-{kind}",
        params.tracking,
        tags={"variant": variant, "seed": str(seed), "corruption": kind, "deployed": training["deployed"]}
        | {f"md5.{name}": value for name, value in md5.items()},
        note=headline(variant, seed, params.ablation.reasons()[variant], f"test on images spoilt by {kind}"),
        inputs=inputs,
        parent_model_md5=md5["model"],
    ) as run:
        records, arrays = {}, {}
        for name, dataset in config.datasets.items():
            result = run_corrupted(
                model,
                test[name],
                dataset,
                kind,
                config=config,
                batch_size=params.compute.eval_batch_size,
                strengths=tqdm(range(1, STRENGTHS + 1), f"{kind} {name}", leave=False, disable=None),
            )
            records[name] = result.record()
            arrays[f"{name}/contributions"] = result.contributions
            by_metric = {"acc": result.acc, "auc": result.auc}
            for strength, values in enumerate(zip(*by_metric.values(), strict=True), 1):
                keys = (f"corrupted/{name}/{metric}" for metric in by_metric)
                run.log_metrics(dict(zip(keys, values, strict=True)), step=strength, dataset=name)
            ends = ", ".join(f"{metric} {of[0]:.4f} to {of[-1]:.4f}" for metric, of in by_metric.items())
            tqdm.write(f"{name}: {kind} from weakest to strongest, n {len(test[name])}, {ends}")
        write_summary(target, head | {"datasets": records}, arrays)


if __name__ == "__main__":
    run_command(main)
