"""The mean teacher: an exponential moving average of what is trained (paper, section 2)."""

import copy

import torch
from torch import Tensor

from mosaic_pipeline.model.mosaic import Mosaic


def build_teacher(student: Mosaic) -> Mosaic:
    """Return a copy of `student` that owns its trainable tensors and shares every frozen one with it."""
    frozen = (tensor for name, tensor in student.named_parameters() if not student.is_trainable(name))
    shared: dict[int, Tensor] = {id(tensor): tensor for tensor in frozen}
    shared |= {id(buffer): buffer for buffer in student.buffers()}
    teacher = copy.deepcopy(student, memo=shared)
    return teacher.requires_grad_(False).eval()


class Ema:
    """Moves the teacher towards the student: t <- m t + (1 - m) s, over what a batch trained and nothing else."""

    def __init__(self, teacher: Mosaic, student: Mosaic) -> None:
        """Pair the tensors of both models, by dataset."""
        self._pairs: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
        for dataset in student.routing.datasets:
            self._pairs[dataset] = (
                [parameter for _, parameter in teacher.active_parameters(dataset)],
                [parameter for _, parameter in student.active_parameters(dataset)],
            )

    @torch.no_grad()
    def update(self, dataset: str, momentum: float) -> None:
        """Apply one step with momentum m in [0, 1) after a step of the student on `dataset`."""
        teacher, student = self._pairs[dataset]
        torch._foreach_lerp_(teacher, student, 1 - momentum)
