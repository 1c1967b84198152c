"""Stage `train`: one variant and seed -> runs/<variant>/<seed>/.

model.safetensors, history.csv, conflicts.json and train.json.
"""

from mosaic_pipeline.arguments import SEED, VARIANT, read_arguments
from mosaic_pipeline.command import GracefulStop, run_command
from mosaic_pipeline.launch import launch, launched, reporting
from mosaic_pipeline.params import load_params


def main() -> None:
    """Train one variant with one seed and write the models of its best round."""
    variant, seed = read_arguments("train", __doc__, VARIANT, SEED)
    params = load_params()
    params.check_known(variant, seed)
    compute = params.compute
    if compute.processes > 1 and not launched():
        launch("stages.train", [variant, str(seed)], processes=compute.processes, restarts=compute.max_restarts)
        return

    # Heavy imports wait until the parameters are known to be good.
    from mosaic_pipeline.atomic import try_places
    from mosaic_pipeline.compute import pick_device
    from mosaic_pipeline.config import load_config
    from mosaic_pipeline.data.batches import open_splits
    from mosaic_pipeline.digest import md5_file
    from mosaic_pipeline.layout import TRAINING_DATA, config_file, run_folder
    from mosaic_pipeline.lineage import check_splits, read_lineage
    from mosaic_pipeline.processes import joined
    from mosaic_pipeline.tracking.parameters import subject
    from mosaic_pipeline.tracking.tested import log_test_means
    from mosaic_pipeline.tracking.training import tracked_training
    from mosaic_pipeline.training.build import build_trainer
    from mosaic_pipeline.training.checkpoint import Checkpoints, checkpoint_folder
    from mosaic_pipeline.training.outputs import FILES, write_outputs
    from mosaic_pipeline.training.resume import follow

    resolved = load_config(config_file(variant))
    config = resolved.for_seed(seed)
    device = pick_device(compute)
    train, val = open_splits(
        TRAINING_DATA, config.datasets, ("train", "val"), device, compute.device_cache_gb, workers=compute.workers
    )
    check_splits(TRAINING_DATA, "train", train, config.datasets)
    check_splits(TRAINING_DATA, "val", val, config.datasets)
    with joined(device) as processes, GracefulStop() as stop:
        trainer = build_trainer(
            config, train=train, val=val, seed=seed, device=device, compute=compute, processes=processes
        )
        if not processes.leads:
            follow(trainer, stop)
            return
        counts, folder = trainer.student.parameter_counts(), run_folder(variant, seed)
        # Student and teacher, 4 bytes a number: the largest file.
        try_places(*(folder / name for name in FILES), size=8 * counts["trainable"])
        lineage = read_lineage(md5_file(config_file(variant)), config.datasets, config.model.pretrained)
        checkpoints = Checkpoints(checkpoint_folder(lineage.determinants | {"seed": seed}))
        about = subject(params, variant, resolved, seed)
        with tracked_training(
            "train", f"{variant}-{seed}", trainer, checkpoints, stop, params.tracking, subject=about, lineage=lineage
        ) as run:
            write_outputs(
                folder,
                trainer,
                {"variant": variant, "seed": seed},
                {"parameters": counts, "precision": config.precision, "weights": lineage.weights, "md5": lineage.md5},
                lineage.data,
            )
            md5 = md5_file(folder / "model.safetensors")
            run.log_model(f"{variant}-{seed}", md5)
            # DVC does not test the same model again.
            log_test_means(run, variant, seed, config, md5)


if __name__ == "__main__":
    run_command(reporting(main))
