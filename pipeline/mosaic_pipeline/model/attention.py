"""Self-attention of a ViT block, with what an adapter does to it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mosaic_pipeline.model.specialist import NONE, Adapter
from mosaic_pipeline.model.vit import Attention
from mosaic_pipeline.present import present


def self_attention(
    attention: Attention, u: Tensor, last: bool, adapter: Adapter = NONE, prompts: Tensor | None = None
) -> Tensor:
    """Compute what timm's Attention does on tokens [N, T, D]; for the class token alone, [N, 1, D], if `last`.

    `adapter` may add to queries and values, and may have `prompts` (normalised, [P, D] or [N, P, D]) whose keys and
    values stand beside those of the tokens.
    """
    q, k, v = attention.qkv(u).chunk(3, dim=-1)
    if added := adapter.query_value(u):
        q, v = q + added[0], v + added[1]
    if last:
        q = q[:, :1]
    q, k, v = (_heads(x, attention.num_heads) for x in (q, k, v))
    q, k = attention.q_norm(q), attention.k_norm(k)
    if prompts is None:
        y = _attend(q, k, v)
    else:
        dim = u.shape[-1]
        bias = None if attention.qkv.bias is None else attention.qkv.bias[dim:]
        beside = F.linear(prompts, attention.qkv.weight[dim:], bias).expand(u.shape[0], -1, -1)
        more = [_heads(x, attention.num_heads) for x in beside.chunk(2, dim=-1)]
        more = [extra.to(q.dtype) for extra in (attention.k_norm(more[0]), more[1])]
        y = _attend(q, torch.cat([k, more[0]], dim=2), torch.cat([v, more[1]], dim=2))
        strength = present(adapter.prompts())[1]
        if strength is not None:
            plain = _attend(q, k, v)
            y = plain + strength.reshape(-1, 1, 1, 1) * (y - plain)
    return attention.proj(attention.norm(y.transpose(1, 2).flatten(2)))


def _heads(x: Tensor, count: int) -> Tensor:
    """[N, T, D] -> [N, heads, T, D / heads]."""
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    # In bf16 torch's fused attention is slower on a CPU, backwards above all (`python -m benchmarks changes`).
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float())
