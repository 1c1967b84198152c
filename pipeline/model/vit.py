"""timm's VisionTransformer; timm is imported here alone.

timm asks torchvision for one norm layer and for a feature extraction, and exempts a model's function from torch's
compiler. Nothing here uses any of that, and with it come torchvision's models and the compiler: a third of all that a
stage imports.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch


def _as_it_is(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Callable[..., Any]:
    return function or _as_it_is


@contextmanager
def _bare_torchvision() -> Iterator[None]:
    """Let imports inside find torchvision's single modules, but neither its models nor what its packages import."""
    if "torchvision" in sys.modules:
        yield
        return
    spec = importlib.util.find_spec("torchvision")
    folders = spec.submodule_search_locations or [] if spec else []
    for name in ("torchvision", "torchvision.ops"):
        package = ModuleType(name)
        package.__path__ = [folder + name.removeprefix("torchvision").replace(".", "/") for folder in folders]
        sys.modules[name] = package
    sys.modules["torchvision.models"] = None  # type: ignore[assignment] - "not installed", which timm copes with
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]


with _bare_torchvision(), patch.object(torch.compiler, "disable", _as_it_is):
    from timm import create_model, is_model, list_models, model_entrypoint
    from timm.layers import Attention, PatchEmbed
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import Block, VisionTransformer, checkpoint_filter_fn

__all__ = [
    "Attention",
    "Block",
    "PatchEmbed",
    "VisionTransformer",
    "VisionTransformerDistilled",
    "checkpoint_filter_fn",
    "create_model",
    "is_model",
    "list_models",
    "model_entrypoint",
]
