"""Experts in the place of a block's MLP, one of which computes, or all of which a gate mixes (arXiv:2405.09446)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from mosaic_pipeline.model.gate import Gate
from mosaic_pipeline.model.named import Named
from mosaic_pipeline.model.vit import Mlp
from mosaic_pipeline.present import present


@dataclass
class Route:
    """What the experts of all blocks do with the batch at hand; the model sets it, and every block looks at it.

    timm's blocks hand their tokens to the MLP and nothing else, so a batch's dataset cannot go along with them.
    `expert` is the index of the dataset's own expert, `own_prior` whether a gate starts at it.
    """

    expert: int = 0
    gated: bool = False
    own_prior: bool = False


class ReleasedGate(nn.Module):
    """What the method's public code has in the place of a gate: a softmax over the channels of a token.

    It does not know how many experts there are, let alone which one computed what, so that it cannot weigh them: it
    scales their sum channel by channel, by 1/D on average. Kept to be compared with.
    """

    def __init__(self, dim: int) -> None:
        """Take the token dimension D."""
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, u: Tensor) -> Tensor:
        """Map tokens [N, T, D] to factors [N, T, D] that sum to one over the channels."""
        return self.linear(u).softmax(dim=-1)


def build_gate(dim: int, experts: int, kind: Literal["tokens", "image", "released"]) -> nn.Module:
    """Return the gate of one block, for E experts on tokens of D channels."""
    return ReleasedGate(dim) if kind == "released" else Gate(dim, experts, kind)


class ExpertMlp(nn.Module):
    """One MLP for each expert, of which `route` says what computes."""

    def __init__(self, dim: int, hidden: int, names: Sequence[str], gate: nn.Module | None, route: Route) -> None:
        """Take the token dimension D, the MLPs' width, the experts' names, and a gate where they can be mixed."""
        super().__init__()
        self.experts = Named({name: Mlp(dim, hidden) for name in names})
        self.gate = gate
        # One object for all blocks: no module, so it is neither saved nor moved.
        self.route = route

    def forward(self, u: Tensor) -> Tensor:
        """Map a block's normalised tokens [N, T, D] to what the block adds to them."""
        if not self.route.gated:
            return self.hard(u, self.route.expert)
        if isinstance(self.gate, ReleasedGate):
            return self.gate(u) * sum(expert(u) for expert in self.experts.values())
        return self.mixed(u, present(self.gate)(u, self.route.expert if self.route.own_prior else None))

    def hard(self, u: Tensor, index: int) -> Tensor:
        """Return what one expert makes of u; no other computes, so that theirs get no gradient."""
        return list(self.experts.values())[index](u)

    def mixed(self, u: Tensor, weights: Tensor) -> Tensor:
        """Return the experts' sum over weights [N, T, E] or [N, 1, E]."""
        # A loop rather than one wide product, which was not faster and needs all experts' activations at once.
        return sum(weights[..., index, None] * expert(u) for index, expert in enumerate(self.experts.values()))


def expert_mlps(module: nn.Module) -> dict[str, ExpertMlp]:
    """Return the ExpertMlps inside a module by name, in the order of the blocks."""
    return {name: each for name, each in module.named_modules() if isinstance(each, ExpertMlp)}
