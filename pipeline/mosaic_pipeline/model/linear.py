"""Linear layers that use the faster of the two matrix libraries in torch for the CPU.

torch hands fp32 matrix products to MKL, which on processors of other makers than Intel reaches half the speed of
oneDNN; on Intel's own it is the faster one (`python -m benchmarks products` measures both). A convolution with a 1x1
kernel is the same product, and convolutions go to oneDNN.
"""

import platform

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def is_intel() -> bool:
    """Whether the processor is one of Intel's, as far as the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return any("GenuineIntel" in line for line in file)
    except OSError:
        return "Intel" in platform.processor()


IN_MKL = is_intel() or not torch.backends.mkldnn.is_available()


class PointwiseLinear(nn.Linear):
    """A linear layer on tokens [N, T, D]; in fp32 on a CPU that is not Intel's a 1x1 convolution, else as nn.Linear."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, T, D] to [N, T, out]."""
        # Under bf16 autocast nn.Linear goes to oneDNN by itself.
        if IN_MKL or x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        return pointwise(x, self.weight, self.bias)


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map [N, T, D] to [N, T, out] by a 1x1 convolution."""
    batch, tokens, dim = x.shape
    # Tokens as the rows of one image, channels last: neither this view nor the one back copies anything.
    image = x.reshape(1, batch * tokens, 1, dim).permute(0, 3, 1, 2)
    y = F.conv2d(image, weight[:, :, None, None], bias)
    return y.permute(0, 2, 3, 1).reshape(batch, tokens, len(weight))


def use_pointwise(model: nn.Module) -> None:
    """Turn every nn.Linear inside `model` into a PointwiseLinear, its tensors kept."""
    for module in model.modules():
        if type(module) is nn.Linear:
            # The subclass adds no state, so the class is all that differs.
            module.__class__ = PointwiseLinear


def use_plain(model: nn.Module) -> None:
    """Turn every PointwiseLinear inside `model` back into an nn.Linear: other runtimes have libraries of their own."""
    pointwise: list[nn.Module] = [module for module in model.modules() if type(module) is PointwiseLinear]
    for module in pointwise:
        module.__class__ = nn.Linear
