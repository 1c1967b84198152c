"""Stage `analyse`: look inside one variant and seed -> analysis/<variant>/<seed>.json."""

from mosaic_pipeline.arguments import SEED, VARIANT, read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.params import load_params


def main() -> None:
    """Analyse the deployed model on a few validation cases of every dataset, if the variant is to be analysed."""
    variant, seed = read_arguments("analyse", __doc__, VARIANT, SEED)
    params = load_params()
    params.check_known(variant, seed)
    limit = params.ablation.analyse_cases
    head = {"variant": variant, "seed": seed, "cases": limit}

    from mosaic_pipeline.analysis.outputs import ANALYSES, write_analyses

    if variant not in params.ablation.analyse:
        write_analyses(head, {})
        print(f"{variant}: not in ablation.analyse")
        return

    # Heavy imports wait until it is known that there is something to do.
    from mosaic_pipeline.analysis.branch_ratio import branch_ratio
    from mosaic_pipeline.analysis.counterfactual import counterfactual
    from mosaic_pipeline.analysis.gate_weights import gate_weights
    from mosaic_pipeline.analysis.similarity import similarity
    from mosaic_pipeline.analysis.subject import Cases, Subject
    from mosaic_pipeline.analysis.summary import summarise
    from mosaic_pipeline.atomic import try_places
    from mosaic_pipeline.compute import pick_device
    from mosaic_pipeline.config import load_config
    from mosaic_pipeline.data.batches import open_splits
    from mosaic_pipeline.layout import TRAINING_DATA, analysis_file, config_file
    from mosaic_pipeline.lineage import check_splits, data_digest, read_meta
    from mosaic_pipeline.tracking import Inputs, headline, tracked_run
    from mosaic_pipeline.training.deployed import load_deployed
    from mosaic_pipeline.training.model_file import read_trained

    try_places(analysis_file(variant, seed))
    config = load_config(config_file(variant)).for_seed(seed)
    device = pick_device(params.compute)
    training = read_trained(variant, seed, config.datasets)
    (splits,) = open_splits(TRAINING_DATA, config.datasets, ("val",), device)
    check_splits(TRAINING_DATA, "val", splits, config.datasets)
    model = load_deployed(config, variant, seed, training["deployed"], device)
    cases = {name: Cases.choose(split, limit) for name, split in splits.items()}
    subject = Subject(model, config, cases, params.compute.eval_batch_size)
    md5 = training["md5"]

    inputs = Inputs(
        "validation",
        {name: read_meta(TRAINING_DATA / name)["source"] for name in config.datasets},
        {name: data_digest(TRAINING_DATA / name) for name in config.datasets},
    )

    with tracked_run(
        "analyse",
        f"{variant}-{seed}-analysis",
        params.tracking,
        params={"ablation.analyse_cases": limit},
        tags={"variant": variant, "seed": str(seed), "deployed": training["deployed"]}
        | {f"md5.{name}": value for name, value in md5.items()},
        note=headline(variant, seed, params.ablation.reasons()[variant], "analysis"),
        inputs=inputs,
        parent_model_md5=md5["model"],
    ) as run:
        results = {}
        analyses = (counterfactual, similarity, branch_ratio, gate_weights)
        for name, analyse in zip(ANALYSES, analyses, strict=True):
            results[name] = analyse(subject)
            shown = summarise(name, results[name])
            run.log_metrics({f"analysis/{name}/{key}": value for key, value in shown.items()})
            numbers = ", ".join(f"{key} {value:.4f}" for key, value in shown.items())
            print(f"{variant} {name}: {numbers or 'none'}", flush=True)
        write_analyses(head, results)


if __name__ == "__main__":
    run_command(main)
