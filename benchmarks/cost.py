"""Images per second against the work: batch size, datasets, specialists, image size."""

import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.data import write_training_splits
from benchmarks.engine import build_trainer, seconds_per_step
from benchmarks.fresh import in_fresh_process
from benchmarks.result import Result
from benchmarks.setting import IMAGES, Setting, of, settings
from mosaic_pipeline.datasets import MEDMNIST

IMAGE_SETS = tuple(name for name, dataset in MEDMNIST.items() if dataset.dimension == 2)


def run(device: torch.device, repeats: int, precision: str, compile_blocks: bool) -> Result:
    """Vary one thing at a time; ViT-Tiny on the CPU, ViT-B on a GPU."""
    gpu = device.type == "cuda"
    base = settings(device.type, precision)["vit_base_2d" if gpu else "vit_tiny_2d"].but(steps=20 if gpu else 8)
    points: list[tuple[str, int, Setting]] = []
    for batch in (8, 32, 128):
        points.append(("batch size", batch, base.but(batch_size=batch)))
    for count in (1, 3, 12):
        points.append(("2D datasets", count, base.but(datasets=of(*IMAGE_SETS[:count]))))
    for count in (1, 3, 12):
        # Twelve datasets, served by 1, 3 or 12 specialists of equal width.
        table = {name: f"s{number % count}" for number, name in enumerate(IMAGE_SETS)}
        point = base.but(datasets=of(*IMAGE_SETS), routing_table=table, widths={f"s{i}": 64 for i in range(count)})
        points.append(("specialists", count, point))
    for size in (128, 224, 384) if gpu else (32, 64, 128):
        points.append(("image size", size, base.but(image_size=size, datasets=of(IMAGES))))
    rows: list[dict[str, Any]] = []
    for what, value, setting in points:
        with tempfile.TemporaryDirectory() as scratch:
            write_training_splits(Path(scratch), setting)
            seconds = [
                in_fresh_process(measure, setting, Path(scratch), device, compile_blocks) for _ in range(repeats)
            ]
        rows.append(
            {
                "what": what,
                "value": value,
                "ms/step": [1e3 * one for one in seconds],
                "images/s": [setting.train.batch_size / one for one in seconds],
            }
        )
        print(f"{what} {value}: {rows[-1]['images/s'][0]:.0f} images/s", flush=True)
    fixed = f"{base.model.backbone} at {base.model.image_size} px, batch {base.train.batch_size}, {precision}"
    return Result("cost", rows, [f"{fixed}, but for what varies. Median (smallest to largest) of {repeats} runs."])


def measure(setting: Setting, folder: Path, device: torch.device, compile_blocks: bool) -> float:
    """Time a step after one epoch of warm-up."""
    trainer = build_trainer(setting, folder, device, compile_blocks=compile_blocks)
    seconds_per_step(trainer, setting.skipped)
    return seconds_per_step(trainer, setting.skipped)
