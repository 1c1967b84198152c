"""This project's training loop, timed from cached files to finished optimiser steps."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from benchmarks.setting import Setting
from mosaic_pipeline.data.augment import augment, draw, normalise, to_float
from mosaic_pipeline.data.batches import consecutive, open_splits
from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.model.cost import training_flops
from mosaic_pipeline.model.mosaic import Mosaic, build_mosaic
from mosaic_pipeline.processes import Processes
from mosaic_pipeline.training.engine import Engine
from mosaic_pipeline.training.trainer import CyclicTrainer

if TYPE_CHECKING:
    from mosaic_pipeline.config import Config

WORKERS = 3
RESIDENT_GB = 8.0


def as_config(setting: Setting) -> "Config":
    """Return a setting as the configuration that it stands for: it has all that is looked at, under the same names."""
    return cast("Config", setting)


def build_model(setting: Setting) -> Mosaic:
    """Build the student with random weights."""
    torch.manual_seed(0)
    model = setting.model
    return build_mosaic(as_config(setting), build_backbone(model.backbone, model.patch_size, model.image_size), seed=0)


def build_trainer(
    setting: Setting,
    folder: Path,
    device: torch.device,
    *,
    compile_blocks: bool = False,
    resident_gb: float = RESIDENT_GB,
    processes: Processes = Processes(),  # noqa: B008 - immutable
) -> CyclicTrainer:
    """Build the trainer on the cached files in `folder`."""
    model = build_model(setting).to(device)
    if compile_blocks:
        model.compile_blocks({setting.train.batch_size})
    (train,) = open_splits(folder, setting.datasets, ("train",), device, resident_gb, workers=WORKERS)
    return CyclicTrainer(
        model, as_config(setting), train=train, val={}, seed=0, device=device, eval_batch_size=1, processes=processes
    )


def seconds_per_step(trainer: Engine, skipped: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Train one epoch of every dataset; return the mean time of a step, without the first `skipped` of each epoch."""
    total, steps = 0.0, 0
    for name in trainer.config.datasets:
        done, started = 0, 0.0

        def count(dataset: str, images: int) -> None:
            nonlocal done, started
            done += 1
            if done == skipped:
                synchronize(trainer.device)
                started = clock()

        trainer.visit(name, count)
        synchronize(trainer.device)
        total += clock() - started
        steps += done - skipped
    return total / steps


def seconds_outside_the_core(trainer: CyclicTrainer, name: str) -> float:
    """Time what a step does beside forward, backward and optimiser, one after the other: data, augmentation, average.

    On a GPU much of it overlaps with the rest, so that this is the most that it can cost.
    """
    dataset, config, split = trainer.config.datasets[name], trainer.config, trainer.train[name]
    size, momentum = config.model.size(dataset.dimension), config.momentum.of(dataset.dimension)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(split), generator=generator)
    draws = draw(dataset, len(split), generator).to(trainer.device)
    positions = consecutive(slice(0, len(split)), config.train.batch_size)
    synchronize(trainer.device)
    started = time.perf_counter()
    for taken, batch in zip(positions, split.batches(positions, order), strict=True):
        images = to_float(batch.images, dataset.dimension, size)
        normalise(augment(images, draws.take(taken)))
        normalise(images)
        trainer.ema.update(name, momentum)
    synchronize(trainer.device)
    return (time.perf_counter() - started) / len(positions)


def flops_per_step(setting: Setting) -> int:
    """Count the operations of a step's matrix products, on the meta device."""
    return training_flops(build_model(setting).to("meta", torch.float32), as_config(setting), setting.first)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
