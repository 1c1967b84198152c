"""Linear layers that use the faster of the two matrix libraries in torch for the CPU.

torch hands fp32 matrix products to MKL, which on processors of other makers than Intel reaches half the speed of
oneDNN (`python -m benchmarks products` measures both). A convolution with a 1x1 kernel is the same product, and
convolutions go to oneDNN.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PointwiseLinear(nn.Linear):
    """A linear layer on tokens [N, T, D]; in fp32 on the CPU a 1x1 convolution, elsewhere what nn.Linear does."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, T, D] to [N, T, out]."""
        # Under bf16 autocast nn.Linear goes to oneDNN by itself.
        if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or not torch.backends.mkldnn.is_available():
            return super().forward(x)
        batch, tokens, dim = x.shape
        # Tokens as the rows of one image, channels last: neither this view nor the one back copies anything.
        image = x.reshape(1, batch * tokens, 1, dim).permute(0, 3, 1, 2)
        y = F.conv2d(image, self.weight[:, :, None, None], self.bias)
        return y.permute(0, 2, 3, 1).reshape(batch, tokens, self.out_features)


def use_pointwise(model: nn.Module) -> None:
    """Turn every nn.Linear inside `model` into a PointwiseLinear, its tensors kept."""
    for module in model.modules():
        if type(module) is nn.Linear:
            # The subclass adds no state, so the class is all that differs.
            module.__class__ = PointwiseLinear
