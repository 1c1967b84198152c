"""From an empty process to the first steps."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.data import write_training_splits
from benchmarks.engine import build_trainer, synchronize
from benchmarks.fresh import in_fresh_process
from benchmarks.result import Result
from benchmarks.setting import Setting, settings

IMPORTS = ("torch", "timm", "mosaic_pipeline.training.trainer")


def run(device: torch.device, names: list[str], repeats: int, precision: str) -> Result:
    """Time imports, and building and first steps of each setting, eager and compiled."""
    rows = [
        {"what": f"import {module}", "seconds": [import_seconds(module) for _ in range(repeats)]} for module in IMPORTS
    ]
    chosen = settings(device.type, precision)
    for name in names:
        setting = chosen[name].but(steps=3, skipped=0)
        with tempfile.TemporaryDirectory() as scratch:
            write_training_splits(Path(scratch), setting)
            for compiled in (False, True):
                measured = [in_fresh_process(measure, setting, Path(scratch), device, compiled) for _ in range(repeats)]
                kind = "compiled" if compiled else "eager"
                for what in measured[0]:
                    rows.append({"what": f"{name} {kind}: {what}", "seconds": [one[what] for one in measured]})
    return Result("startup", rows, ["The import of a row contains those above it."])


def import_seconds(module: str) -> float:
    """Time a new process that imports a module."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - started


def measure(setting: Setting, folder: Path, device: torch.device, compiled: bool) -> dict[str, float]:
    """Time building the trainer, its first step and its third."""
    started = time.perf_counter()
    trainer = build_trainer(setting, folder, device, compile_blocks=compiled)
    synchronize(device)
    times = [time.perf_counter()]

    def note(dataset: str, images: int) -> None:
        synchronize(device)
        times.append(time.perf_counter())

    trainer.visit(setting.first, note)
    return {"build": times[0] - started, "first step": times[1] - times[0], "third step": times[3] - times[2]}
