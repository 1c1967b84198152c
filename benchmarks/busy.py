"""Training beside other work: what idle threads do between two parallel regions, on a quiet and on a busy machine."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.data import write_training_splits
from benchmarks.engine import build_trainer, seconds_per_step
from benchmarks.fresh import in_fresh_process
from benchmarks.result import Result
from benchmarks.setting import Setting, settings
from mosaic_pipeline.waiting import SPINS_BUSY, SPINS_QUIET

LOOPS_PER_CORE = 2
# What idle threads do, by the environment that makes them do it.
WAITING: dict[str, dict[str, str]] = {
    "spin for ms (libgomp's own)": {"GOMP_SPINCOUNT": "300000"},
    f"spin {SPINS_QUIET} times (a stage's where it is quiet)": {"GOMP_SPINCOUNT": str(SPINS_QUIET)},
    f"spin {SPINS_BUSY} times (a stage's where it is busy)": {"GOMP_SPINCOUNT": str(SPINS_BUSY)},
    "sleep at once": {"OMP_WAIT_POLICY": "passive"},
}
STEPS = 6  # of an epoch
SECONDS = 5


def run(device: torch.device, names: list[str], repeats: int, precision: str) -> Result:
    """Time a step of each setting with every way of waiting, quiet and beside two busy loops for each core, in turn."""
    if device.type != "cpu":
        return Result("busy", [], ["What idle threads of the CPU do is of no weight on a GPU."])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    rows = []
    for name in names:
        setting = _few_steps(name, device, precision)
        with tempfile.TemporaryDirectory() as scratch:
            write_training_splits(Path(scratch), setting)
            quiet: dict[str, list[float]] = {waiting: [] for waiting in WAITING}
            busy: dict[str, list[float]] = {waiting: [] for waiting in WAITING}
            for _ in range(repeats):
                for waiting, variables in WAITING.items():
                    for measured, loops in ((quiet, 0), (busy, LOOPS_PER_CORE * cores)):
                        with _environment(variables), _busy_loops(loops):
                            seconds = in_fresh_process(_seconds, name, scratch, device, precision)
                        measured[waiting].append(setting.train.batch_size / seconds)
        # As many threads as cores among the loops get this share of what they have alone.
        share = 1 / (1 + LOOPS_PER_CORE)
        first = next(iter(WAITING))
        for waiting in WAITING:
            rows.append(
                {
                    "setting": name,
                    "idle threads": waiting,
                    "quiet images/s": quiet[waiting],
                    "to the first": [a / b for a, b in zip(quiet[waiting], quiet[first], strict=True)],
                    "busy images/s": busy[waiting],
                    "of the fair share": [a / (share * b) for a, b in zip(busy[waiting], quiet[waiting], strict=True)],
                }
            )
    return Result("busy", rows, [f"Busy: {LOOPS_PER_CORE} endless loops for each of {cores} cores."])


def _few_steps(name: str, device: torch.device, precision: str) -> Setting:
    """A setting with epochs of a few steps: beside busy loops a step can take ten seconds."""
    return replace(settings(device.type, precision)[name], steps=STEPS)


def _seconds(name: str, folder: str, device: torch.device, precision: str) -> float:
    """Return the median time of a step over as many epochs as fit into some seconds, one at least."""
    setting = _few_steps(name, device, precision)
    trainer = build_trainer(setting, Path(folder), device)
    seconds_per_step(trainer, setting.skipped)
    started = time.monotonic()
    measured: list[float] = []
    while not measured or time.monotonic() - started < SECONDS:
        measured.append(seconds_per_step(trainer, setting.skipped))
    return statistics.median(measured)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _busy_loops(number: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
