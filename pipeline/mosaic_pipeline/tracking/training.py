"""A training as an MLflow run: after an interruption both go on from the last checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager

from mosaic_pipeline.command import GracefulStop
from mosaic_pipeline.compute import describe_device
from mosaic_pipeline.lineage import Lineage
from mosaic_pipeline.params import Tracking
from mosaic_pipeline.tracking.lifecycle import Stage, tracked_run
from mosaic_pipeline.tracking.notes import headline
from mosaic_pipeline.tracking.run import Inputs, Run
from mosaic_pipeline.tracking.subject import Subject
from mosaic_pipeline.training.checkpoint import Checkpoints
from mosaic_pipeline.training.engine import Engine
from mosaic_pipeline.training.own_rounds import COMPOSED
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
    subject: Subject,
    lineage: Lineage,
) -> Iterator[Run]:
    """Train to the end as the MLflow run `name`; the body writes what came of it, then the checkpoints go.

    `subject` says what is trained. Of several processes this is for the leading one; the others `follow`.
    """
    variant, seed, processes = subject.variant, subject.seed, trainer.processes.count
    tags = {"variant": variant, "seed": str(seed), "device": describe_device(trainer.device)}
    tags |= {f"weights.{key}": value for key, value in lineage.weights.items()}
    tags |= {f"md5.{name}": value for name, value in lineage.md5.items()}
    tags |= {"processes": str(processes)}
    counts = trainer.student.parameter_counts()
    where = f"{trainer.device}, {processes} processes" if processes > 1 else f"{trainer.device}"
    print(f"{variant}, seed {seed}: {counts['trainable']:,} of {counts['total']:,} parameters train on {where}")

    role = "a candidate of its tuning" if stage == "tune" else ""
    with checkpoints.exclusive():
        run_id = resume(trainer, checkpoints)
        with tracked_run(
            stage,
            name,
            tracking,
            params=subject.parameters,
            tags=tags,
            note=headline(variant, seed, subject.why, role),
            inputs=Inputs("training", lineage.sources, lineage.data),
            run_id=run_id,
            system_metrics=tracking.system_metrics,
        ) as run:
            run.log_text(subject.config, subject.config_file.as_posix())
            for row in trainer.measured():  # a killed one may have left points behind; what did arrive is passed over
                run.log_metrics(row, step=int(row["round"]))
            lead(trainer, checkpoints, run.id, stop, lambda row: run.log_metrics(row, step=int(row["round"])))
            run.describe("Validation", _validation(trainer))
            yield run
            # Measured times go to MLflow alone: a stage's files are the same for the same inputs.
            run.log_metrics({"train_seconds": trainer.seconds}, step=trainer.round)
            run.set_tags({"deployed": trainer.deployed})
        checkpoints.clear()


def _validation(trainer: Engine) -> str:
    """Say which round is deployed and how good it is on the validation splits."""
    best = trainer.best
    if trainer.deployed == COMPOSED:
        return f"each dataset's own best of {trainer.round} rounds is deployed"
    return f"best round {best.round} of {trainer.round}, score {best.score:.4f}, the {best.deployed} is deployed"
