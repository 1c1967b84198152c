"""Images per second from cached files to finished optimiser steps: the engine beside the plain loop."""

import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.data import write_training_splits
from benchmarks.engine import build_trainer, flops_per_step, seconds_outside_the_core, seconds_per_step
from benchmarks.fresh import in_fresh_process, peak_memory
from benchmarks.plain import PlainLoop
from benchmarks.products import product_rate
from benchmarks.result import Result
from benchmarks.setting import Setting, settings


def run(device: torch.device, names: list[str], repeats: int, precision: str, compile_blocks: bool) -> Result:
    """Measure both loops in turn, `repeats` times, each in a fresh process, and the product they are held against."""
    rows = []
    chosen = settings(device.type, precision)
    for name in names:
        setting = chosen[name]
        batch = setting.train.batch_size
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_training_splits(folder, setting)
            engine, plain, ratio = [], [], []
            for _ in range(repeats):
                engine.append(in_fresh_process(measure_engine, setting, folder, device, compile_blocks))
                plain.append(in_fresh_process(measure_plain, setting, folder, device))
                ratio.append(plain[-1]["seconds"] / engine[-1]["seconds"])
                print(f"{name}: {ratio[-1]:.2f}x", flush=True)
        rows.append(
            {
                "setting": name,
                "batch": batch,
                "engine images/s": [batch / one["seconds"] for one in engine],
                "plain images/s": [batch / one["seconds"] for one in plain],
                "ratio": ratio,
                "outside core %": [100 * one["outside_seconds"] / one["seconds"] for one in engine],
                "FLOP utilisation %": [100 * one["flops"] / one["seconds"] / one["product_rate"] for one in engine],
                "engine host MB": max(one["host_mb"] for one in engine),
                "plain host MB": max(one["host_mb"] for one in plain),
            }
        )
        if device.type == "cuda":
            rows[-1]["engine device MB"] = max(one["device_mb"] for one in engine)
            rows[-1]["plain device MB"] = max(one["device_mb"] for one in plain)
    return Result(
        "training",
        rows,
        [
            f"engine: {precision}{', compiled' if compile_blocks else ''}; plain: fp32. Median (smallest to largest) "
            f"of {repeats} runs of each in turn.",
            "outside core: what is not forward, backward or optimiser, timed by itself. FLOP utilisation: the products "
            "of a step against a large matrix product of the same precision "
            "in the same process. Host memory: of the training process, without the plain loop's workers.",
        ],
    )


def measure_engine(setting: Setting, folder: Path, device: torch.device, compile_blocks: bool) -> dict[str, Any]:
    """Time the engine's step, and what of it lies outside its core."""
    trainer = build_trainer(setting, folder, device, compile_blocks=compile_blocks)
    if device.type == "cuda":
        seconds_per_step(trainer, setting.skipped)  # compilation and the choice of kernels
    seconds = seconds_per_step(trainer, setting.skipped)
    peak = peak_memory(device)
    return peak | {
        "seconds": seconds,
        "outside_seconds": seconds_outside_the_core(trainer, setting.first),
        "flops": flops_per_step(setting),
        "product_rate": product_rate(device, setting.precision),
    }


def measure_plain(setting: Setting, folder: Path, device: torch.device) -> dict[str, Any]:
    """Time the plain loop's step."""
    loop = PlainLoop(setting, folder, device)
    if device.type == "cuda":
        loop.seconds_per_step(setting.skipped)
    return {"seconds": loop.seconds_per_step(setting.skipped)} | peak_memory(device)
