"""Self-attention of a frozen ViT block."""

import torch
from timm.layers import Attention
from torch import Tensor
from torch.nn import functional as F


def self_attention(attention: Attention, x: Tensor, last: bool) -> Tensor:
    """Compute what timm's Attention does on tokens [N, T, D]; for the class token alone, [N, 1, D], if `last`."""
    q, k, v = attention.qkv(x).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    if last:
        q = q[:, :, :1]
    if x.device.type == "cpu":
        # In bf16 torch's fused attention is slower on a CPU, backwards above all (`python -m benchmarks changes`).
        with torch.autocast("cpu", enabled=False):
            y = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    else:
        y = F.scaled_dot_product_attention(q, k, v)
    return attention.proj(y.transpose(1, 2).flatten(2))
