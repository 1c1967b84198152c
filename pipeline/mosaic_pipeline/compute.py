"""Where and in which precision torch works."""

import re
from typing import TYPE_CHECKING

import torch
from torch import nn

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.launch import launched, local_rank

if TYPE_CHECKING:
    from mosaic_pipeline.params import Compute


def pick_device(compute: "Compute") -> torch.device:
    """Return the device that `compute.device` names and apply `compute.threads`.

    Each process that torchrun started gets a GPU of its own. Raises PipelineError when the device is not there.
    """
    if compute.threads:
        torch.set_num_threads(compute.threads)
    return find_device(compute.device, "params.yaml: compute.device")


def find_device(name: str, what: str = "device") -> torch.device:
    """Return a device by its name: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises PipelineError, which says `what` asked for it, when it is not there, or is no device.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", name):
        raise PipelineError(f"{what} = {name!r}: no device; use auto, cpu, cuda, cuda:N or mps")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise PipelineError(f"{what} = {name!r}: torch sees no CUDA device; use auto or cpu")
    if name == "cuda" and launched():
        name = f"cuda:{local_rank()}"
    if name.startswith("cuda:") and int(name.split(":")[1]) >= torch.cuda.device_count():
        raise PipelineError(f"{what}: no {name}, there are {torch.cuda.device_count()} CUDA devices")
    if name == "mps" and not torch.backends.mps.is_available():
        raise PipelineError(f"{what} = 'mps': torch sees no Apple GPU here; use auto or cpu")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Name the hardware for logs and reports."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which forward passes run: bf16 autocast, or plain fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def store_matrices_in_bf16(frozen: nn.Module) -> None:
    """Keep the weights of linear and convolution layers in bf16, as autocast would cast them at every call.

    Changes no result: autocast casts these very tensors to bf16 before each product. But it caches that cast only
    for weights that need a gradient, so that frozen ones would be cast again in every forward pass.
    """
    for module in frozen.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.to(torch.bfloat16)
