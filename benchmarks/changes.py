"""What each change to the engine brings: the engine against itself with one of them taken back."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mosaic_pipeline.model.mosaic as mosaic
import mosaic_pipeline.training.trainer as trainer_module
from benchmarks.data import write_training_splits
from benchmarks.engine import build_trainer, seconds_per_step
from benchmarks.fresh import in_fresh_process
from benchmarks.result import Result
from benchmarks.setting import Setting, settings
from mosaic_pipeline.model.linear import PointwiseLinear
from mosaic_pipeline.model.teacher import Ema
from mosaic_pipeline.model.vit import Attention


def _stand_in(owner: object, name: str, part: object) -> None:
    """Put something else, of whatever type, in the place of a part; for the rest of the process."""
    setattr(owner, name, part)


def products_in_mkl() -> None:
    """Multiply fp32 matrices as torch does by itself."""
    _stand_in(PointwiseLinear, "forward", nn.Linear.forward)


def all_tokens_in_the_last_block() -> None:
    """Compute what nobody reads."""
    run_block = mosaic.run_block
    mosaic.run_block = lambda block, adapter, last, x: run_block(block, adapter, False, x)


def attention_in_the_precision_of_the_rest() -> None:
    """Let autocast choose the precision of the attention on the CPU too."""

    def self_attention(attention: Attention, x: Tensor, last: bool, *ignored: object) -> Tensor:
        q, k, v = attention.qkv(x).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q[:, :, :1] if last else q, k, v)
        return attention.proj(y.transpose(1, 2).flatten(2))

    _stand_in(mosaic, "self_attention", self_attention)


def frozen_matrices_in_fp32() -> None:
    """Let autocast cast them at every use."""
    mosaic.store_matrices_in_bf16 = lambda frozen: None


def teacher_without_inference_mode() -> None:
    """Only leave the gradient out."""
    _stand_in(torch, "inference_mode", torch.no_grad)


def average_tensor_by_tensor() -> None:
    """Update every tensor of the teacher, moved or not, one at a time."""

    @torch.no_grad()
    def update(ema: Ema, dataset: str, momentum: float) -> None:
        for teachers, students in ema._pairs.values():
            for teacher, student in zip(teachers, students, strict=True):
                teacher.lerp_(student, 1 - momentum)

    _stand_in(Ema, "update", update)


def optimiser_unfused() -> None:
    """Take torch's default AdamW."""
    fused = torch.optim.AdamW
    _stand_in(torch.optim, "AdamW", lambda groups, **ignored: fused(groups))


def loss_read_at_every_step() -> None:
    """Wait for the device at every step."""
    network = trainer_module.mosaic_loss

    def mosaic_loss(*arguments: Any) -> Tensor:
        loss = network(*arguments)
        loss.item()
        return loss

    _stand_in(trainer_module, "mosaic_loss", mosaic_loss)


def nothing() -> None:
    """Take nothing back."""


# Changes that concern one precision alone, and those that concern both.
TAKEN_BACK = {
    "fp32": [products_in_mkl],
    "bf16": [attention_in_the_precision_of_the_rest, frozen_matrices_in_fp32],
    "both": [
        all_tokens_in_the_last_block,
        teacher_without_inference_mode,
        average_tensor_by_tensor,
        optimiser_unfused,
        loss_read_at_every_step,
    ],
}


def run(device: torch.device, names: list[str], repeats: int, precision: str) -> Result:
    """Time the engine as it is and with each change taken back, in turn, each in a fresh process."""
    rows = []
    for name in names:
        setting = settings(device.type, precision)[name]
        with tempfile.TemporaryDirectory() as scratch:
            write_training_splits(Path(scratch), setting)
            for change in TAKEN_BACK[precision] + TAKEN_BACK["both"]:
                ratios = []
                for _ in range(repeats):
                    without = in_fresh_process(measure, setting, Path(scratch), device, change)
                    ratios.append(without / in_fresh_process(measure, setting, Path(scratch), device, nothing))
                rows.append({"setting": name, "taken back": change.__name__.replace("_", " "), "slower by": ratios})
                print(f"{name}: {rows[-1]['taken back']}: {ratios}", flush=True)
    return Result("changes", rows, [f"{precision}. Time of a step against that of the engine as it is, in pairs."])


def measure(setting: Setting, folder: Path, device: torch.device, take_back: Callable[[], None]) -> float:
    """Time a step with one change taken back in this process."""
    take_back()
    trainer = build_trainer(setting, folder, device)
    if device.type == "cuda":
        seconds_per_step(trainer, setting.skipped)
    return seconds_per_step(trainer, setting.skipped)
