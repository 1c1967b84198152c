"""The same global batch in one process and in two."""

import json
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.data import write_training_splits
from benchmarks.engine import build_trainer, seconds_per_step
from benchmarks.result import Result
from benchmarks.setting import settings
from mosaic_pipeline.launch import launch, local_rank
from mosaic_pipeline.processes import joined


def run(device: torch.device, names: list[str], repeats: int, precision: str) -> Result:
    """Time a step of each setting in 1 and in 2 processes, one GPU each, or half of the cores."""
    if device.type == "cuda" and torch.cuda.device_count() < 2:
        return Result("scaling", [], ["Two processes want two GPUs; there is one."])
    rows = []
    for name in names:
        setting = settings(device.type, precision)[name]
        with tempfile.TemporaryDirectory() as scratch:
            write_training_splits(Path(scratch), setting)
            seconds: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(repeats):
                for count, measured in seconds.items():
                    launch("benchmarks.scaling", [name, scratch, device.type, precision], processes=count, restarts=0)
                    measured.append(json.loads((Path(scratch) / "seconds.json").read_text()))
        images = setting.train.batch_size
        rows.append(
            {
                "setting": name,
                "batch": images,
                "1 process images/s": [images / one for one in seconds[1]],
                "2 processes images/s": [images / one for one in seconds[2]],
                "speed-up": [one / two for one, two in zip(seconds[1], seconds[2], strict=True)],
            }
        )
    return Result("scaling", rows, ["On a CPU the two processes share the cores that the one has."])


def main() -> None:
    """Do one process's part and let the first write the time."""
    name, folder, kind, precision = sys.argv[1:]
    device = torch.device(kind, local_rank()) if kind == "cuda" else torch.device(kind)
    setting = settings(kind, precision)[name]
    with joined(device) as processes:
        trainer = build_trainer(setting, Path(folder), device, processes=processes)
        seconds_per_step(trainer, setting.skipped)
        seconds = seconds_per_step(trainer, setting.skipped)
        if processes.leads:
            (Path(folder) / "seconds.json").write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
