"""A learned mixture of specialists in place of hard routing: M4oE's idea (arXiv:2405.09446) on our specialists."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from mosaic_pipeline.model.specialist import Adapter
from mosaic_pipeline.present import present

# Weight of the specialist that a gate starts at. Not 1: no gradient would reach the others, nor the gate.
OWN_WEIGHT = 0.9


class Gate(nn.Module):
    """Softmax over S specialists of one block, its linear part zero at the start.

    All specialists weigh the same then, unless a dataset's own one is given: its logit has a fixed prior, by which it
    starts with OWN_WEIGHT and the others share the rest.
    """

    def __init__(self, dim: int, specialists: int, looks_at: Literal["tokens", "image"]) -> None:
        """Take the token dimension D, the number S, and whether each token has weights of its own or the image."""
        super().__init__()
        self.looks_at = looks_at
        self.prior = math.log(OWN_WEIGHT / (1 - OWN_WEIGHT) * (specialists - 1)) if specialists > 1 else 0.0
        self.linear = nn.Linear(dim, specialists)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, u: Tensor, own: int | None = None) -> Tensor:
        """Map a block's normalised input tokens [N, T, D] to weights that sum to one, [N, T, S] or [N, 1, S].

        `own` is the index of the specialist with the prior, if any has.
        """
        logits = self.linear(u.mean(dim=1, keepdim=True) if self.looks_at == "image" else u)
        if own is not None:
            logits[..., own] += self.prior
        return logits.softmax(dim=-1)


@dataclass(frozen=True)
class Mixture(Adapter):
    """The weighted sum of what the adapters of a block do, for every kind of adapter.

    `own` is the index of the specialist that the gate starts at, None if it starts at all alike. `weights` [N, T, S] or
    [N, 1, S] are the gate's, once `at` has seen the tokens. Prompts are the same for all tokens of an image, so they
    are mixed by the mean of the tokens' weights.
    """

    adapters: tuple[Adapter, ...]
    gate: Gate
    own: int | None = None
    weights: Tensor | None = None

    def at(self, u: Tensor) -> "Mixture":
        """Return the mixture with the weights that the gate gives to the tokens u [N, T, D]."""
        return replace(self, weights=self.gate(u, self.own))

    def prompts(self) -> tuple[Tensor, Tensor | None] | None:
        """Return prompts [N, P, D] and strengths [N], None where they are not learned."""
        parts = [adapter.prompts() for adapter in self.adapters]
        if parts[0] is None:
            return None
        weights = present(self.weights).mean(dim=1)
        tokens, strengths = zip(*parts, strict=True)
        mixed = torch.einsum("ns,spd->npd", weights, torch.stack(tokens))
        return mixed, None if strengths[0] is None else weights @ torch.stack(strengths)

    def query_value(self, u: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the weighted sums of what is added to queries and to values."""
        parts = [adapter.query_value(u) for adapter in self.adapters]
        if parts[0] is None:
            return None
        query, value = (self._sum(part) for part in zip(*parts, strict=True))
        return query, value

    def beside_mlp(self, h: Tensor) -> Tensor | None:
        """Return the weighted sum of the branches; h [N, T, D] may be the class token alone."""
        parts = [adapter.beside_mlp(h) for adapter in self.adapters]
        return None if parts[0] is None else self._sum([present(part) for part in parts])

    def _sum(self, parts: Sequence[Tensor]) -> Tensor:
        # Tokens of the last block are its class token alone, the first row of the weights.
        weights = present(self.weights)[:, : parts[0].shape[1]]
        return cast("Tensor", sum(weights[..., index, None] * part for index, part in enumerate(parts)))
