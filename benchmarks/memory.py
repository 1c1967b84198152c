"""Memory: of the host while training from files larger than it should ever need, and what the teacher adds."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.data import write_training_splits
from benchmarks.engine import build_model, build_trainer
from benchmarks.fresh import in_fresh_process, peak_memory
from benchmarks.result import Result
from benchmarks.setting import Setting, settings
from mosaic_pipeline.model.teacher import build_teacher
from mosaic_pipeline.training.engine import StoppedByRequest

GIGABYTES = 20
# Enough images to go past the bound if pages were kept: 32,000 of 150 KB.
STEPS = 1000


def run(device: torch.device, precision: str) -> Result:
    """Train a thousand steps from a sparse file of 20 GB, and weigh the teacher."""
    chosen = settings(device.type, precision)
    setting = chosen["vit_tiny_2d"].but(stored={2: 224, 3: 64})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        count = write_sparse_split(folder, setting, GIGABYTES)
        host = in_fresh_process(measure_host, setting, folder, device)
    rows = [
        {
            "what": f"host memory, {STEPS} steps over {count:,} images in {GIGABYTES} GB, MB",
            "measured": host["host_mb"],
            "bound": 3000,
        }
    ]
    for name in ("vit_base_2d", "vit_tiny_2d"):
        trainable, extra = in_fresh_process(weigh_teacher, chosen[name], device)
        rows.append(
            {"what": f"{name}: teacher's own tensors, MB", "measured": extra / 1e6, "bound": 1.05 * trainable / 1e6}
        )
    return Result("memory", rows, ["The bound of the teacher is what the student trains, and 5 %."])


def write_sparse_split(folder: Path, setting: Setting, gigabytes: float) -> int:
    """Write a training split of zeros that takes no disk; return its number of images."""
    write_training_splits(folder, setting.but(steps=1, skipped=0))
    (name,) = setting.datasets
    side = setting.stored[2]
    count = int(gigabytes * 1e9 / (side * side * 3))
    np.lib.format.open_memmap(folder / name / "train_images.npy", "w+", np.uint8, (count, side, side, 3))
    np.save(folder / name / "train_labels.npy", np.zeros((count, 1), np.int64))
    return count


def measure_host(setting: Setting, folder: Path, device: torch.device) -> dict[str, float]:
    """Train some steps in random order over the whole file and return the peak of the host's memory."""
    trainer = build_trainer(setting, folder, device, resident_gb=0)
    try:
        trainer.visit(setting.first, stop_requested=lambda: trainer.step == STEPS)
    except StoppedByRequest:
        return peak_memory(device)
    raise RuntimeError("the file ended before the steps did")


def weigh_teacher(setting: Setting, device: torch.device) -> tuple[int, int]:
    """Return the bytes of what the student trains, and the bytes that the teacher adds."""
    student = build_model(setting).to(device)
    trainable = sum(tensor.nbytes for tensor in student.trainable_state().values())
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        teacher = build_teacher(student)
        return trainable, torch.cuda.memory_allocated(device) - before
    held = {tensor.data_ptr() for tensor in (*student.parameters(), *student.buffers())}
    teacher = build_teacher(student)
    added = [tensor for tensor in (*teacher.parameters(), *teacher.buffers()) if tensor.data_ptr() not in held]
    return trainable, sum(tensor.nbytes for tensor in added)
