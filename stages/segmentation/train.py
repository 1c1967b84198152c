"""Stage `seg_train`: one variant and seed -> segmentation/results/<variant>/<seed>/.

model.safetensors, history.csv and train.json.
"""

from mosaic_pipeline.arguments import SEED, SEG_VARIANT, read_arguments
from mosaic_pipeline.command import GracefulStop, run_command
from mosaic_pipeline.launch import launch, launched, reporting
from mosaic_pipeline.params import load_params


def main() -> None:
    """Train one variant with one seed and write the model of its best round."""
    variant, seed = read_arguments("segmentation.train", __doc__, SEG_VARIANT, SEED)
    params = load_params()
    params.segmentation_variant(variant)
    params.check_seed(seed)
    compute = params.compute
    if compute.processes > 1 and not launched():
        arguments = [variant, str(seed)]
        launch("stages.segmentation.train", arguments, processes=compute.processes, restarts=compute.max_restarts)
        return

    # Heavy imports wait until the parameters are known to be good.
    from mosaic_pipeline.atomic import try_places
    from mosaic_pipeline.compute import pick_device
    from mosaic_pipeline.digest import md5_file
    from mosaic_pipeline.layout import SLICES, segmentation_config, segmentation_run
    from mosaic_pipeline.processes import joined
    from mosaic_pipeline.segmentation.config import load_config
    from mosaic_pipeline.segmentation.data.slices import open_slices
    from mosaic_pipeline.segmentation.lineage import read_lineage
    from mosaic_pipeline.segmentation.training.build import build_trainer
    from mosaic_pipeline.segmentation.training.outputs import FILES, write_outputs
    from mosaic_pipeline.tracking.segmentation_parameters import subject
    from mosaic_pipeline.tracking.segmentation_tested import log_test_means
    from mosaic_pipeline.tracking.training import tracked_training
    from mosaic_pipeline.training.checkpoint import Checkpoints, checkpoint_folder
    from mosaic_pipeline.training.resume import follow

    resolved = load_config(segmentation_config(variant))
    config = resolved.for_seed(seed)
    device = pick_device(compute)
    train, val = open_slices(
        SLICES,
        config.datasets,
        config.model.size,
        ("train", "val"),
        device,
        compute.device_cache_gb,
        workers=compute.workers,
    )
    with joined(device) as processes, GracefulStop() as stop:
        trainer = build_trainer(
            config, train=train, val=val, seed=seed, device=device, compute=compute, processes=processes
        )
        if not processes.leads:
            follow(trainer, stop)
            return
        folder = segmentation_run(variant, seed)
        try_places(*(folder / name for name in FILES), size=4 * trainer.student.parameter_counts()["total"])
        lineage = read_lineage(md5_file(segmentation_config(variant)), config)
        checkpoints = Checkpoints(checkpoint_folder(lineage.determinants | {"seed": seed}, "seg_train"))
        name = f"{variant}-{seed}"
        about = subject(params, variant, resolved, seed)
        with tracked_training(
            "seg_train", name, trainer, checkpoints, stop, params.tracking, subject=about, lineage=lineage
        ) as run:
            write_outputs(folder, trainer, variant, seed, lineage)
            md5 = md5_file(folder / "model.safetensors")
            run.log_model(name, md5)
            # DVC does not test the same model again.
            log_test_means(run, variant, seed, md5)


if __name__ == "__main__":
    run_command(reporting(main))
