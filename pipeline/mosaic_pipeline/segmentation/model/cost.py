"""What a model costs: parameters and products of a slice, and products of a training step."""

from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from mosaic_pipeline.segmentation.model.m4oe import M4oE, Phase

if TYPE_CHECKING:
    from mosaic_pipeline.segmentation.config import Config


def on_meta(config: "Config") -> M4oE:
    """Build a model whose tensors have no storage."""
    with torch.device("meta"):
        return M4oE(config)


def slice_costs(config: "Config") -> dict[str, dict[str, int]]:
    """Return how many parameters a slice goes through (`active`) and their products (`macs`), by routing.

    With one expert (`experts`) and with all, mixed (`gate`), each where some round trains so; the last is what is
    deployed. Of the first dataset: the classes of another are a few rows of its head more or less.
    """
    model, dataset = on_meta(config), next(iter(config.datasets))
    active: dict[str, int] = {}
    macs: dict[str, int] = {}
    phases: tuple[Phase, ...] = ("experts", "gate")
    for phase in phases:
        if phase in config.rounds:
            macs[phase] = slice_macs(model, dataset, phase)
            active[phase] = sum(parameter.numel() for _, parameter in model.computing_parameters(dataset))
    return {"active": active, "macs": macs}


def slice_macs(model: M4oE, dataset: str, phase: Phase) -> int:
    """Multiplications, each with its addition, that one slice of `dataset` takes; `model` must be on the meta device.

    Counted by torch over matrix products and convolutions: element-wise work, norms and softmax are not counted.
    """
    model.enter(phase)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(_slices(model, 1), dataset)
    return counter.get_total_flops() // 2


def step_flops(model: M4oE, dataset: str, phase: Phase, batch_size: int) -> int:
    """Floating-point operations of the products of one optimiser step, forward and backward; as `slice_macs`."""
    model.enter(phase)
    with FlopCounterMode(display=False) as counter:
        model(_slices(model, batch_size), dataset).sum().backward()
    return counter.get_total_flops()


def _slices(model: M4oE, count: int) -> torch.Tensor:
    size = model.config.model.size
    return torch.empty(count, size, size, device="meta")
