"""Measurements in processes of their own, so that none inherits another's memory, threads or caches."""

import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch


def in_fresh_process(function: Callable[..., Any], *arguments: object) -> Any:
    """Return what `function` returns in a new Python process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak_memory(device: torch.device) -> dict[str, float]:
    """Return the largest memory of this process so far, in MB: on the host, and what torch allocated on the GPU."""
    peak = {"host_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}
    if device.type == "cuda":
        peak["device_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return peak
