"""Stage `train`: one variant and seed -> runs/<variant>/<seed>/{model.safetensors,history.csv,train.json}."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from pipeline.command import GracefulStop, run_command
from pipeline.params import load_params

if TYPE_CHECKING:
    from pipeline.training.checkpoint import Checkpoints
    from pipeline.training.trainer import CyclicTrainer


def main() -> None:
    """Train one variant with one seed and write both models of its best round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant")
    parser.add_argument("seed", type=int)
    arguments = parser.parse_args()
    variant, seed = arguments.variant, arguments.seed
    params = load_params()

    # Heavy imports wait until the parameters are known to be good.
    from pipeline.compute import describe_device, pick_device
    from pipeline.config import load_config
    from pipeline.data.batches import open_splits
    from pipeline.digest import md5_file, md5_text
    from pipeline.layout import BACKBONE, CACHED, config_file, run_folder
    from pipeline.lineage import data_digest, read_meta
    from pipeline.model.mosaic import build_mosaic
    from pipeline.tracking import tracked_run
    from pipeline.training.checkpoint import Checkpoints, checkpoint_folder
    from pipeline.training.outputs import write_outputs
    from pipeline.training.trainer import CyclicTrainer, StoppedByRequest
    from pipeline.weights.load import load_backbone

    config = load_config(config_file(variant))
    device = pick_device(params.compute)
    train, val = open_splits(CACHED, config.datasets, ("train", "val"), device, params.compute.device_cache_gb)
    backbone = load_backbone(BACKBONE, config.model)
    model = build_mosaic(config, backbone, seed).to(device)
    if params.compute.compile:
        model.compile_blocks()
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
    data = {name: data_digest(CACHED / name) for name in config.datasets}
    tags = {"variant": variant, "seed": str(seed), "device": describe_device(device)}
    tags |= {f"md5.{name}": value for name, value in md5.items()} | {"md5.data": md5_text(json.dumps(data))}
    counts = model.parameter_counts()
    print(f"{variant}, seed {seed}: {counts['trainable']:,} of {counts['total']:,} parameters train on {device}")

    checkpoints = Checkpoints(checkpoint_folder({**md5, **data, "seed": seed}))
    with checkpoints.exclusive(), GracefulStop() as stop:
        run_id = resume(trainer, checkpoints)
        with tracked_run(
            "train",
            f"{variant}-{seed}",
            params.tracking,
            params=config.model_dump() | {"seed": seed},
            tags=tags,
            run_id=run_id,
            system_metrics=params.tracking.system_metrics,
        ) as run:
            for name, digest in data.items():
                run.log_dataset(name, read_meta(CACHED / name)["source"], digest, "training")
            try:
                trainer.run(
                    on_round=lambda row: run.log_metrics(row, step=row["round"]),
                    on_visit=lambda: checkpoints.due and keep(trainer, checkpoints, run.id),
                    stop_requested=lambda: stop.requested,
                )
            except StoppedByRequest:
                keep(trainer, checkpoints, run.id)
                print(f"stopped in round {trainer.round + 1}; the same command continues from here", file=sys.stderr)
                raise stop.exception from None

            folder = run_folder(variant, seed)
            head = {"variant": variant, "seed": seed}
            write_outputs(folder, trainer, head, {"parameters": counts, "precision": config.precision, "md5": md5})
            # Measured times go to MLflow alone: the stage's files are the same for the same inputs.
            run.log_metrics({"train_seconds": trainer.seconds}, step=trainer.round)
            run.log_model(f"{variant}-{seed}", md5_file(folder / "model.safetensors"))
            run.set_tags({"deployed": trainer.best.deployed})
        checkpoints.clear()


def keep(trainer: "CyclicTrainer", checkpoints: "Checkpoints", run_id: str) -> None:
    """Write a checkpoint that also names the MLflow run."""
    tensors, values = trainer.state()
    checkpoints.save(tensors, values | {"run_id": run_id})


def resume(trainer: "CyclicTrainer", checkpoints: "Checkpoints") -> str | None:
    """Continue from the newest checkpoint, if there is one, and return the MLflow run that it belongs to."""
    saved = checkpoints.load()
    if saved is None:
        return None
    tensors, values = saved
    run_id = values.pop("run_id")
    trainer.restore(tensors, values)
    print(f"continuing in round {trainer.round + 1}, after {trainer.step} steps", flush=True)
    return run_id


if __name__ == "__main__":
    run_command(main)
