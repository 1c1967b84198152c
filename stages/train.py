"""Stage `train`: one variant and seed -> runs/<variant>/<seed>/{model.safetensors,history.csv,train.json}."""

import argparse
import json

from pipeline.command import run_command
from pipeline.params import load_params


def main() -> None:
    """Train one variant with one seed and write both models of its best round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant")
    parser.add_argument("seed", type=int)
    arguments = parser.parse_args()
    variant, seed = arguments.variant, arguments.seed
    params = load_params()

    # Heavy imports wait until the parameters are known to be good.
    import pandas as pd

    from pipeline.atomic import write_text
    from pipeline.compute import describe_device, pick_device
    from pipeline.config import load_config
    from pipeline.data.batches import open_splits
    from pipeline.digest import md5_file
    from pipeline.layout import BACKBONE, CACHED, config_file, run_folder
    from pipeline.lineage import data_digest, read_meta
    from pipeline.model.mosaic import build_mosaic
    from pipeline.tracking import tracked_run
    from pipeline.training.model_file import save_model
    from pipeline.training.trainer import CyclicTrainer
    from pipeline.weights.load import load_backbone

    config = load_config(config_file(variant))
    device = pick_device(params.compute)
    train, val = open_splits(CACHED, config.datasets, ("train", "val"), device, params.compute.device_cache_gb)
    backbone = load_backbone(BACKBONE, config.model.backbone, config.model.patch_size, config.model.image_size)
    model = build_mosaic(config, backbone, seed).to(device)
    trainer = CyclicTrainer(
        model,
        config,
        train=train,
        val=val,
        seed=seed,
        device=device,
        eval_batch_size=params.compute.eval_batch_size,
    )
    md5 = {"config": md5_file(config_file(variant)), "weights": md5_file(BACKBONE)}
    counts = model.parameter_counts()
    print(f"{variant}, seed {seed}: {counts['trainable']:,} of {counts['total']:,} parameters train on {device}")

    with tracked_run(
        "train",
        f"{variant}-{seed}",
        params.tracking,
        params=config.model_dump() | {"seed": seed},
        tags={"variant": variant, "seed": str(seed), "device": describe_device(device)}
        | {f"md5.{name}": value for name, value in md5.items()},
        system_metrics=params.tracking.system_metrics,
    ) as run:
        for name in config.datasets:
            folder = CACHED / name
            run.log_dataset(name, read_meta(folder)["source"], data_digest(folder), "training")
        trainer.run(on_round=lambda row: run.log_metrics(row, step=row["round"]))

        folder = run_folder(variant, seed)
        save_model(folder / "model.safetensors", student=trainer.best.student, teacher=trainer.best.teacher)
        write_text(folder / "history.csv", pd.DataFrame(trainer.history).to_csv(index=False, lineterminator="\n"))
        summary = {
            "variant": variant,
            "seed": seed,
            "deployed": trainer.best.deployed,
            "best_round": trainer.best.round,
            "rounds": trainer.round,
            "stopped": "early" if trainer.stopped_early else "complete",
            "score": trainer.best.score,
            "parameters": counts,
            "steps": trainer.step,
            "precision": config.precision,
            "md5": md5,
        }
        write_text(folder / "train.json", json.dumps(summary, indent=2) + "\n")
        # Measured times go to MLflow alone: the stage's files are the same for the same inputs.
        run.log_metrics({"train_seconds": trainer.seconds})
        run.set_tags({"md5.model": md5_file(folder / "model.safetensors"), "deployed": trainer.best.deployed})


if __name__ == "__main__":
    run_command(main)
