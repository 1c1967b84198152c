"""The model at work on the cases of one dataset, seen from where its adapters are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from mosaic_pipeline.analysis.subject import Subject
from mosaic_pipeline.model.mosaic import run_block
from mosaic_pipeline.model.specialist import Adapter

if TYPE_CHECKING:
    from mosaic_pipeline.model.vit import Block


@dataclass(frozen=True)
class Seen:
    """What the adapter of one block was given for a batch, and what it added; None where its kind adds nothing.

    `u` [N, T, D] are the block's normalised tokens. `h` [N, T, D] is the input of its MLP, in the last block of the
    class token alone, [N, 1, D], and `mlp` what its MLP adds to the stream. `adapter` is a mixture with its weights
    where a gate is in use.
    """

    layer: int
    adapter: Adapter
    u: Tensor
    h: Tensor
    mlp: Tensor
    query_value: tuple[Tensor, Tensor] | None
    branch: Tensor | None


class _Observed(Adapter):
    """An adapter that does what another one does and keeps what it was given; for one pass through one block."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter

    def at(self, u: Tensor) -> "_Observed":
        self.adapter, self.u = self.adapter.at(u), u
        return self

    def prompts(self) -> tuple[Tensor, Tensor | None] | None:
        return self.adapter.prompts()

    def query_value(self, u: Tensor) -> tuple[Tensor, Tensor] | None:
        self.added = self.adapter.query_value(u)
        return self.added

    def beside_mlp(self, h: Tensor) -> Tensor | None:
        self.h, self.branch = h, self.adapter.beside_mlp(h)
        return self.branch


class _Kept:
    """A layer that keeps its last output."""

    def __init__(self, layer: Callable[[Tensor], Tensor]) -> None:
        self.layer = layer

    def __call__(self, x: Tensor) -> Tensor:
        self.output = self.layer(x)
        return self.output


@torch.inference_mode()
def observe(subject: Subject, name: str) -> Iterator[Seen]:
    """Run the cases of a dataset through the model, routed as trained; yield each block's view, batch after batch."""
    model = subject.model
    last = len(model.backbone.blocks) - 1
    for images in subject.batches(name):
        with subject.autocast():
            x = model.embed(images, name)
        for layer, (block, adapter) in enumerate(zip(model.backbone.blocks, model.adapters(name), strict=True)):
            # Stand-ins for this one call, rather than hooks on a model that others use.
            observed, scaled = _Observed(adapter), _Kept(block.ls2)
            names = ("norm1", "attn", "ls1", "norm2", "mlp")
            parts = SimpleNamespace(**{name: getattr(block, name) for name in names}, ls2=scaled)
            # Entered for each block, so that it is not in force where the caller computes.
            with subject.autocast():
                x = run_block(cast("Block", parts), observed, layer == last, x)
            yield Seen(layer, observed.adapter, observed.u, observed.h, scaled.output, observed.added, observed.branch)
