"""CPU seconds of a training step of the full M4oE at 224 px: the trainer beside the plain loop."""

import tempfile
import time
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeAlias

import torch

from benchmarks.engine import seconds_per_step
from benchmarks.fresh import in_fresh_process
from benchmarks.products import SLOW, product_rate
from benchmarks.result import Result
from benchmarks.segmentation.data import write_slices
from benchmarks.segmentation.plain import PARTS, PHASES, PlainLoop
from benchmarks.segmentation.setting import Phase, Precision, full_config
from mosaic_pipeline.segmentation.config import Config
from mosaic_pipeline.segmentation.data.slices import open_slices
from mosaic_pipeline.segmentation.model.build import build_m4oe
from mosaic_pipeline.segmentation.model.cost import slice_macs
from mosaic_pipeline.segmentation.model.m4oe import M4oE
from mosaic_pipeline.segmentation.training.trainer import SegmentationTrainer

CPU = torch.device("cpu")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
# Steps on each set; the first is not timed, for it makes the gradients and momenta of the set's own expert.
STEPS, SKIPPED = 2, 1
AIM = 3.0

# By phase, and by precision or by part of the step.
Seconds: TypeAlias = dict[Phase, dict[str, float]]


def run(repeats: int) -> Result:
    """Measure both loops in turn, `repeats` times, each in a fresh process, on the same slices."""
    rates = in_fresh_process(measure_products)
    precisions = [name for name, rate in rates.items() if rate >= SLOW]
    trainer, plain = [], []
    with tempfile.TemporaryDirectory() as scratch:
        folder, config = Path(scratch), full_config("experts")
        write_slices(folder, config, STEPS * config.train.batch_size)
        for _ in range(repeats):
            trainer.append(in_fresh_process(measure_trainer, folder, config, precisions))
            plain.append(in_fresh_process(measure_plain, folder, config))
            print(f"{len(plain)} of {repeats} runs of each", flush=True)
    large = ", ".join(f"{rate:.0f} in {precision}" for precision, rate in rates.items())
    notes = [
        f"One thread, batches of {config.train.batch_size}; CPU seconds, those of the plain loop's workers too. "
        f"Median (smallest to largest) of {repeats} runs of each in turn.",
        f"The plain loop is fp32 and mixes sets in a batch. Where its step by the gate goes: {shares(plain)}.",
        "Ratio of products: multiplications of the plain loop, in which all experts compute all tokens in both phases, "
        f"over the trainer's. A large product, GFLOP/s: {large}.",
    ]
    return Result("segmentation: training", rows(trainer, plain), notes)


def rows(trainer: list[Seconds], plain: list[Seconds]) -> list[dict[str, Any]]:
    """Return one row for each phase and precision, from what each run measured of both."""
    made, multiplied = [], {phase: macs(phase) for phase in PHASES}
    for phase in PHASES:
        theirs = [sum(each[phase].values()) for each in plain]
        for precision in trainer[0][phase]:
            ours = [each[phase][precision] for each in trainer]
            made.append(
                {
                    "phase": phase,
                    "trainer in": precision,
                    "trainer, s": ours,
                    "plain loop, s": theirs,
                    "ratio": [b / a for a, b in zip(ours, theirs, strict=True)],
                    "aim": AIM,
                    "ratio of products": multiplied["gate"] / multiplied[phase],
                }
            )
    return made


def shares(plain: list[Seconds]) -> str:
    """Say how a step of the plain loop by the gate is made up, as medians over its runs."""
    steps = [each["gate"] for each in plain]
    parts = {part: median(100 * step[part] / sum(step.values()) for step in steps) for part in PARTS}
    return ", ".join(f"{part} {percent:.0f} %" for part, percent in parts.items())


def macs(phase: Phase) -> int:
    """Return the multiplications of one slice in a phase of the full model."""
    config = full_config(phase)
    with torch.device("meta"):
        model = M4oE(config)
    return slice_macs(model, next(iter(config.datasets)), phase)


def measure_products() -> dict[Precision, float]:
    """Return GFLOP/s of a large product, of a small one in a precision that the processor has no products in."""
    torch.set_num_threads(1)
    return {precision: product_rate(CPU, precision, time.process_time) / 1e9 for precision in PRECISIONS}


def measure_trainer(folder: Path, config: Config, precisions: list[Precision]) -> Seconds:
    """Time the trainer's step in both phases, of the model of a configuration."""
    torch.set_num_threads(1)
    seconds: Seconds = {phase: {} for phase in PHASES}
    for phase in PHASES:
        for precision in precisions:
            own = full_config(phase, precision, model=config.model, batch_size=config.train.batch_size)
            trainer = build_trainer(folder, own)
            seconds[phase][precision] = seconds_per_step(trainer, SKIPPED, time.process_time)
    return seconds


def build_trainer(folder: Path, config: Config) -> SegmentationTrainer:
    """Build the trainer on the cached slices in `folder`, as its stage does."""
    (train,) = open_slices(folder, config.datasets, config.model.size, ("train",), CPU)
    model = build_m4oe(config, seed=0)
    return SegmentationTrainer(model, config, train=train, val={}, seed=0, device=CPU, eval_batch_size=1)


def measure_plain(folder: Path, config: Config) -> Seconds:
    """Time the parts of the plain loop's step in both phases, without the first step of each."""
    torch.set_num_threads(1)
    laps = PlainLoop(config, folder).run(skipped=len(PHASES))
    return {phase: {part: fmean(lap[part] for lap in steps) for part in PARTS} for phase, steps in laps.items()}
