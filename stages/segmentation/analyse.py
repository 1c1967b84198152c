"""Stage `seg_analyse`: look inside one variant and seed -> segmentation/results/<variant>/<seed>/analysis.json."""

from mosaic_pipeline.arguments import SEED, SEG_VARIANT, read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.params import load_params


def main() -> None:
    """Analyse the deployed model on a few validation slices of every dataset, if the variant is to be analysed."""
    variant, seed = read_arguments("segmentation.analyse", __doc__, SEG_VARIANT, SEED)
    params = load_params()
    params.segmentation_variant(variant)
    params.check_seed(seed)
    ablation = params.segmentation.ablation
    head = {"variant": variant, "seed": seed, "cases": ablation.analyse_cases}

    from mosaic_pipeline.segmentation.analysis.outputs import ANALYSES, summarise, write_analyses

    if variant not in ablation.analyse:
        write_analyses(head, {})
        print(f"{variant}: not in segmentation.ablation.analyse")
        return

    # Heavy imports wait until it is known that there is something to do.
    from mosaic_pipeline.atomic import try_places
    from mosaic_pipeline.compute import pick_device
    from mosaic_pipeline.digest import md5_file
    from mosaic_pipeline.layout import SLICES, segmentation_analysis
    from mosaic_pipeline.segmentation.analysis.conflicts import conflicts
    from mosaic_pipeline.segmentation.analysis.counterfactual import counterfactual
    from mosaic_pipeline.segmentation.analysis.gates import gate_maps, gate_weights
    from mosaic_pipeline.segmentation.analysis.similarity import similarity
    from mosaic_pipeline.segmentation.analysis.subject import Chosen, Subject
    from mosaic_pipeline.segmentation.data.slices import open_slices
    from mosaic_pipeline.segmentation.deployed import load_trained
    from mosaic_pipeline.tracking import Inputs, headline, tracked_run

    try_places(segmentation_analysis(variant, seed))
    device = pick_device(params.compute)
    deployed, training = load_trained(variant, seed, device)
    (validation,) = open_slices(SLICES, deployed.datasets, deployed.size, ("val",), device)
    slices = {name: Chosen.choose(split, ablation.analyse_cases) for name, split in validation.items()}
    trained_on = {name: split.meta.class_voxels["train"] for name, split in validation.items()}
    subject = Subject(deployed.model, slices, trained_on, params.compute.eval_batch_size)
    md5 = training["md5"]

    inputs = Inputs(
        "validation",
        {name: split.meta.source for name, split in validation.items()},
        {name: md5_file(SLICES / name / "meta.json") for name in validation},
    )

    with tracked_run(
        "seg_analyse",
        f"{variant}-{seed}-analysis",
        params.tracking,
        params={"segmentation.ablation.analyse_cases": ablation.analyse_cases},
        tags={"variant": variant, "seed": str(seed)} | {f"md5.{name}": value for name, value in md5.items()},
        note=headline(variant, seed, ablation.reasons()[variant], "analysis"),
        inputs=inputs,
        parent_model_md5=md5["model"],
    ) as run:
        results = {}
        analyses = (counterfactual, gate_weights, gate_maps, similarity, conflicts)
        for name, analyse in zip(ANALYSES, analyses, strict=True):
            results[name] = analyse(subject)
            shown = summarise(name, results[name])
            run.log_metrics({f"analysis/{name}/{key}": value for key, value in shown.items()})
            numbers = ", ".join(f"{key} {value:.4f}" for key, value in shown.items())
            print(f"{variant} {name}: {numbers or ('none' if results[name] is None else 'done')}", flush=True)
        write_analyses(head, results)


if __name__ == "__main__":
    run_command(main)
