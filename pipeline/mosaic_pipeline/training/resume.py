"""A training that may be interrupted at any time: it goes on from its last checkpoint, in one process or many."""

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from mosaic_pipeline.command import INTERRUPTED, GracefulStop
from mosaic_pipeline.training.checkpoint import Checkpoints
from mosaic_pipeline.training.engine import Engine, StoppedByRequest

RUN_ID = "run_id"


def resume(trainer: Engine, checkpoints: Checkpoints | None = None) -> str | None:
    """Continue from the newest checkpoint, if there is one, and return the id of the run that it belongs to.

    The leading process reads `checkpoints`; the others get from it what it found.
    """
    saved = trainer.processes.agree(checkpoints.load(partial(_check, trainer)) if checkpoints else None)
    if saved is None:
        return None
    tensors, values = saved
    run_id = values.pop(RUN_ID)
    trainer.restore(tensors, values)
    if trainer.processes.leads:
        print(f"continuing in round {trainer.round + 1}, after {trainer.step} steps", flush=True)
    return run_id


def _check(trainer: Engine, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Raise ValueError unless the trainer can continue from this, in the run that it names."""
    if not isinstance(values, dict) or not isinstance(values.get(RUN_ID), str):
        raise ValueError("it does not name its run")
    trainer.check_state(tensors, values)


def lead(
    trainer: Engine,
    checkpoints: Checkpoints,
    run_id: str,
    stop: GracefulStop,
    on_round: Callable[[dict[str, float]], None],
) -> None:
    """Train to the end and write checkpoints; each names the run, so that whoever continues continues that too.

    When a stop is requested, writes one more after the current step and raises what the signal stands for.
    """

    def keep() -> None:
        tensors, values = trainer.state()
        checkpoints.save(tensors, values | {RUN_ID: run_id})

    def keep_if_due() -> None:
        if checkpoints.due:
            keep()

    if trainer.step == 0:
        keep()  # whatever ends the training from now on, it is continued in this run
    try:
        trainer.run(
            on_round=on_round,
            on_visit=keep_if_due,
            stop_requested=lambda: trainer.processes.any(stop.requested),
        )
    except StoppedByRequest:
        keep()
        print(f"stopped in round {trainer.round + 1}; the same command continues from here", file=sys.stderr)
        raise stop.exception from None


def follow(trainer: Engine, stop: GracefulStop) -> None:
    """Do this process's part of a training that another one leads."""
    parent = os.getppid()
    resume(trainer)
    try:
        # If torchrun itself was killed, all stop: nobody would start them again, or end them.
        trainer.run(stop_requested=lambda: trainer.processes.any(stop.requested or os.getppid() != parent))
    except StoppedByRequest:
        sys.exit(INTERRUPTED)
