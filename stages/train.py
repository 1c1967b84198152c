"""Stage `train`: one variant and seed -> runs/<variant>/<seed>/{model.safetensors,history.csv,train.json}."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from pipeline.command import GracefulStop, run_command
from pipeline.launch import launch, launched, reporting
from pipeline.params import Params, load_params

if TYPE_CHECKING:
    from pipeline.training.trainer import CyclicTrainer


def main() -> None:
    """Train one variant with one seed and write the models of its best round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant")
    parser.add_argument("seed", type=int)
    arguments = parser.parse_args()
    variant, seed = arguments.variant, arguments.seed
    params = load_params()
    compute = params.compute
    if compute.processes > 1 and not launched():
        launch("stages.train", sys.argv[1:], processes=compute.processes, restarts=compute.max_restarts)
        return

    # Heavy imports wait until the parameters are known to be good.
    from pipeline.compute import pick_device
    from pipeline.config import load_config
    from pipeline.data.batches import open_splits
    from pipeline.layout import BACKBONE, CACHED, config_file
    from pipeline.model.mosaic import build_mosaic
    from pipeline.processes import joined
    from pipeline.training.resume import follow
    from pipeline.training.trainer import CyclicTrainer
    from pipeline.weights.load import load_backbone

    config = load_config(config_file(variant)).for_seed(seed)
    device = pick_device(compute)
    splits = open_splits(
        CACHED, config.datasets, ("train", "val"), device, compute.device_cache_gb, workers=compute.workers
    )
    model = build_mosaic(config, load_backbone(BACKBONE, config.model), seed).to(device)
    with joined(device) as processes, GracefulStop() as stop:
        if compute.compile:
            (share,) = processes.shares(config.train.batch_size, config.train.batch_size)
            model.compile_blocks({share.size, compute.eval_batch_size})
        trainer = CyclicTrainer(
            model,
            config,
            train=splits[0],
            val=splits[1],
            seed=seed,
            device=device,
            eval_batch_size=compute.eval_batch_size,
            processes=processes,
        )
        if processes.leads:
            train_and_write(trainer, params, variant, stop)
        else:
            follow(trainer, stop)


def train_and_write(trainer: "CyclicTrainer", params: Params, variant: str, stop: GracefulStop) -> None:
    """Train, with checkpoints and an MLflow run, and write the stage's files."""
    from pipeline.compute import describe_device
    from pipeline.digest import md5_file, md5_text
    from pipeline.layout import BACKBONE, CACHED, config_file, run_folder
    from pipeline.lineage import data_digest, read_meta
    from pipeline.tracking import tracked_run
    from pipeline.training.checkpoint import Checkpoints, checkpoint_folder
    from pipeline.training.outputs import write_outputs
    from pipeline.training.resume import lead, resume
    from pipeline.weights.load import read_provenance

    config, seed, processes = trainer.config, trainer.seed, trainer.processes.count
    # What they are, for whoever only gets the results: random, or the npz by name and sha256.
    weights = {key: value for key, value in read_provenance(BACKBONE).items() if key in ("source", "sha256")}
    md5 = {"config": md5_file(config_file(variant)), "weights": md5_file(BACKBONE)}
    data = {name: data_digest(CACHED / name) for name in config.datasets}
    tags = {"variant": variant, "seed": str(seed), "device": describe_device(trainer.device)}
    tags |= {f"weights.{key}": value for key, value in weights.items()}
    tags |= {f"md5.{name}": value for name, value in md5.items()} | {"md5.data": md5_text(json.dumps(data))}
    counts = trainer.student.parameter_counts()
    where = f"{trainer.device}, {processes} processes" if processes > 1 else f"{trainer.device}"
    print(f"{variant}, seed {seed}: {counts['trainable']:,} of {counts['total']:,} parameters train on {where}")

    checkpoints = Checkpoints(checkpoint_folder({**md5, **data, "seed": seed}))
    with checkpoints.exclusive():
        run_id = resume(trainer, checkpoints)
        with tracked_run(
            "train",
            f"{variant}-{seed}",
            params.tracking,
            params=config.model_dump() | {"seed": seed},
            tags=tags | {"processes": str(processes)},
            run_id=run_id,
            system_metrics=params.tracking.system_metrics,
        ) as run:
            for name, digest in data.items():
                run.log_dataset(name, read_meta(CACHED / name)["source"], digest, "training")
            lead(trainer, checkpoints, run.id, stop, lambda row: run.log_metrics(row, step=row["round"]))

            folder = run_folder(variant, seed)
            head = {"variant": variant, "seed": seed}
            write_outputs(
                folder,
                trainer,
                head,
                {"parameters": counts, "precision": config.precision, "weights": weights, "md5": md5},
            )
            # Measured times go to MLflow alone: the stage's files are the same for the same inputs.
            run.log_metrics({"train_seconds": trainer.seconds}, step=trainer.round)
            run.log_model(f"{variant}-{seed}", md5_file(folder / "model.safetensors"))
            run.set_tags({"deployed": trainer.deployed})
        checkpoints.clear()


if __name__ == "__main__":
    run_command(reporting(main) if launched() else main)
