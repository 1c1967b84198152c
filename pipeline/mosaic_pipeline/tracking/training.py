"""A training as an MLflow run: after an interruption both go on from the last checkpoint."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from mosaic_pipeline.command import GracefulStop
from mosaic_pipeline.compute import describe_device
from mosaic_pipeline.digest import md5_text
from mosaic_pipeline.lineage import Lineage
from mosaic_pipeline.params import Tracking
from mosaic_pipeline.tracking.lifecycle import Stage, tracked_run
from mosaic_pipeline.tracking.run import Run
from mosaic_pipeline.training.checkpoint import Checkpoints
from mosaic_pipeline.training.engine import Engine
from mosaic_pipeline.training.resume import lead, resume


@contextmanager
def tracked_training(
    stage: Stage,
    name: str,
    trainer: Engine,
    checkpoints: Checkpoints,
    stop: GracefulStop,
    tracking: Tracking,
    *,
    variant: str,
    lineage: Lineage,
) -> Iterator[Run]:
    """Train to the end as the MLflow run `name`; the body writes what came of it, then the checkpoints go.

    Of several processes this is for the leading one; the others `follow`.
    """
    config, seed, processes = trainer.config, trainer.seed, trainer.processes.count
    tags = {"variant": variant, "seed": str(seed), "device": describe_device(trainer.device)}
    tags |= {f"weights.{key}": value for key, value in lineage.weights.items()}
    tags |= {f"md5.{name}": value for name, value in lineage.md5.items()}
    tags |= {"md5.data": md5_text(json.dumps(lineage.data)), "processes": str(processes)}
    counts = trainer.student.parameter_counts()
    where = f"{trainer.device}, {processes} processes" if processes > 1 else f"{trainer.device}"
    print(f"{variant}, seed {seed}: {counts['trainable']:,} of {counts['total']:,} parameters train on {where}")

    with checkpoints.exclusive():
        run_id = resume(trainer, checkpoints)
        with tracked_run(
            stage,
            name,
            tracking,
            params=config.model_dump(exclude={"datasets"}) | {"seed": seed},
            tags=tags,
            run_id=run_id,
            system_metrics=tracking.system_metrics,
        ) as run:
            for dataset, digest in lineage.data.items():
                run.log_dataset(dataset, lineage.sources[dataset], digest, "training")
            for row in trainer.measured():  # a killed one may have left points behind; what did arrive is passed over
                run.log_metrics(row, step=int(row["round"]))
            lead(trainer, checkpoints, run.id, stop, lambda row: run.log_metrics(row, step=int(row["round"])))
            yield run
            # Measured times go to MLflow alone: a stage's files are the same for the same inputs.
            run.log_metrics({"train_seconds": trainer.seconds}, step=trainer.round)
            run.set_tags({"deployed": trainer.deployed})
        checkpoints.clear()
