"""What a model costs: products of a slice, and of a training step."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.segmentation.model.m4oe import M4oE, Phase


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
