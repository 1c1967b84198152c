"""Rates of matrix products: what the hardware gives to whoever multiplies matrices and does nothing else."""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.engine import synchronize
from benchmarks.result import Result
from mosaic_pipeline.model.linear import pointwise

SIDE = {"cpu": 2048, "cuda": 8192}
PROBE = 256
SLOW = 5.0  # GFLOP/s


def run(device: torch.device) -> Result:
    """Compare torch's linear layer in fp32 and bf16 with the convolution that goes to oneDNN."""
    rows = []
    for batch, tokens, dim, out in ((32, 17, 192, 768), (32, 17, 768, 192), (8, 197, 768, 3072), (8, 197, 3072, 768)):
        x = torch.randn(batch, tokens, dim, device=device)
        x_half = x.bfloat16()
        linear = nn.Linear(dim, out, device=device)
        half = nn.Linear(dim, out, device=device, dtype=torch.bfloat16)
        flops = 2 * batch * tokens * dim * out
        rows.append(
            {
                "product": f"{batch * tokens} x {dim} x {out}",
                "nn.Linear fp32": rate(partial(linear, x), flops, device),
                "pointwise fp32": rate(partial(pointwise, x, linear.weight, linear.bias), flops, device),
                "nn.Linear bf16": rate(partial(half, x_half), flops, device),
            }
        )
    return Result("products", rows, ["GFLOP/s, forward pass."])


def product_rate(device: torch.device, precision: str, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return FLOP/s of a large square matrix product; of a small one where that shows how slow the large one would be.

    A processor that has no products in bf16 takes a minute for one of 2,048 a side.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    for side in (PROBE, SIDE[device.type]):
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        found = rate(partial(torch.matmul, a, b), 2 * side**3, device, clock)
        if found < SLOW:
            break
    return 1e9 * found


@torch.no_grad()
def rate(
    product: Callable[[], Tensor], flops: int, device: torch.device, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return GFLOP/s: the best of five repetitions of about a tenth of a second each."""
    product()
    synchronize(device)
    started = clock()
    product()
    synchronize(device)
    count = max(1, int(0.1 / (clock() - started)))
    best = float("inf")
    for _ in range(5):
        started = clock()
        for _ in range(count):
            product()
        synchronize(device)
        best = min(best, (clock() - started) / count)
    return flops / best / 1e9
