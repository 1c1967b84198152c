"""What the report of many trainings costs: seconds, memory and bytes, of made-up results."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.finished import Scale, write_finished
from benchmarks.result import Result

ROOT = Path(__file__).parents[1]
# What the environment of whoever measures may hold, and must not decide where the report goes.
FOREIGN = ("MLFLOW_", "DVC_", "MOSAIC_")


def run(scale: Scale, repeats: int) -> Result:
    """Render the report of made-up results of this scale, in a process of its own each time."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_finished(folder, scale)
        measured: dict[str, list[float]] = {}
        for _ in range(repeats):
            for what, value in in_child(folder, "stages.report").items():
                measured.setdefault(what, []).append(value)
        files = [file for file in (folder / "reports").rglob("*") if file.is_file()]
        sizes = {
            "index.html, MB": (folder / "reports/index.html").stat().st_size / 1e6,
            "largest page, MB": max(file.stat().st_size for file in files if file.suffix == ".html") / 1e6,
            "all files, MB": sum(file.stat().st_size for file in files) / 1e6,
            "files": len(files),
        }
    row: dict[str, Any] = {
        "cells": scale.cells,
        "variants": scale.variants,
        "seeds": scale.seeds,
        "rounds": scale.rounds,
    }
    row |= {"analysed": scale.analysed, "cases": scale.cases} | measured | sizes
    return Result("report", [row], ["18 datasets; cases: test images of each. Peak memory is that of the stage alone."])


# A process counts as its own the memory that its parent had when it was started: so a small one stands between.
MEASURE = """
import json, os, subprocess, sys, time
started = time.perf_counter()
with open("output.txt", "wb") as output:
    process = subprocess.Popen([sys.executable, "-m", sys.argv[1]], stdout=output, stderr=subprocess.STDOUT)
    _, status, usage = os.wait4(process.pid, 0)
measured = {"seconds": time.perf_counter() - started, "CPU s": usage.ru_utime + usage.ru_stime}
measured |= {"peak memory, MB": usage.ru_maxrss * 1024 / 1e6}
print(json.dumps([os.waitstatus_to_exitcode(status), measured]))
"""


def in_child(folder: Path, module: str) -> dict[str, float]:
    """Run a module in a folder and return its seconds by the clock and of the processor, and its largest memory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    command, environment = [sys.executable, "-c", MEASURE, module], kept | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE)
    status, measured = json.loads(ended.stdout)
    if status:
        raise RuntimeError(f"{module} ended with {status}: {(folder / 'output.txt').read_text()[-2000:]}")
    return measured
