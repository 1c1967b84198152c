"""timm's VisionTransformer, and Swin's blocks; timm is imported here alone.

timm asks torchvision for one norm layer and for a feature extraction, exempts a model's function from torch's
compiler, and gets ready to fetch weights. Nothing here uses any of that, and with it come torchvision's models, the
compiler and the client of a hub: a third of all that a stage imports.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, overload
from unittest.mock import patch

import torch
from torch import nn

if TYPE_CHECKING:
    from mosaic_pipeline.data.augment import Statistics


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
    sys.modules["torchvision.models"] = None  # type: ignore[assignment]  # "not installed", which timm copes with
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]


@contextmanager
def _without_hub() -> Iterator[None]:
    """Let imports inside find no client of Hugging Face's hub, which timm copes with; `weights.hub` imports it."""
    if "huggingface_hub" in sys.modules:
        yield
        return
    sys.modules["huggingface_hub"] = None  # type: ignore[assignment]  # "not installed"
    try:
        yield
    finally:
        del sys.modules["huggingface_hub"]


with _bare_torchvision(), _without_hub(), patch.object(torch.compiler, "disable", _as_it_is):
    from timm import create_model, is_model, list_models, model_entrypoint
    from timm.layers import Attention, GluMlp, Mlp, PatchEmbed, SwiGLU, SwiGLUPacked
    from timm.models import get_pretrained_cfg, vision_transformer
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.swin_transformer import PatchMerging, SwinTransformerBlock, WindowAttention
    from timm.models.vision_transformer import checkpoint_filter_fn

if TYPE_CHECKING:
    # What `backbone.oddity` makes sure of and `weights.load` adds, which timm's own types leave open.
    class Block(vision_transformer.Block):
        """A block with timm's plain attention."""

        attn: Attention
        mlp: Mlp | GluMlp | SwiGLU

    class _Blocks(nn.Sequential):
        @overload
        def __getitem__(self, idx: slice) -> nn.Sequential: ...
        @overload
        def __getitem__(self, idx: int) -> Block: ...
        def __getitem__(self, idx: slice | int) -> nn.Sequential | Block: ...
        def __iter__(self) -> Iterator[Block]: ...

    class VisionTransformer(vision_transformer.VisionTransformer):
        """A ViT with a class token and positions."""

        blocks: _Blocks
        cls_token: nn.Parameter
        pos_embed: nn.Parameter
        statistics: Statistics
else:
    Block, VisionTransformer = vision_transformer.Block, vision_transformer.VisionTransformer

__all__ = [
    "Attention",
    "Block",
    "GluMlp",
    "Mlp",
    "PatchEmbed",
    "PatchMerging",
    "SwiGLU",
    "SwiGLUPacked",
    "SwinTransformerBlock",
    "VisionTransformer",
    "VisionTransformerDistilled",
    "WindowAttention",
    "checkpoint_filter_fn",
    "create_model",
    "get_pretrained_cfg",
    "is_model",
    "list_models",
    "model_entrypoint",
]
