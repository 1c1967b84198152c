"""What a specialist is: one adapter per block of the ViT, of a kind that only its own file knows."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, overload

from torch import Tensor, nn


class Adapter:
    """What a specialist does to one block: as it stands, nothing. A kind overrides one place of three."""

    def at(self, u: Tensor) -> "Adapter":
        """Return the adapter for the normalised input tokens u [N, T, D] of a block: itself, unless it is a mixture."""
        return self

    def prompts(self) -> tuple[Tensor, Tensor | None] | None:
        """Prompts [P, D] or [N, P, D] that the block attends to; the strength [] or [N] of their effect, None for 1."""
        return None

    def query_value(self, u: Tensor) -> tuple[Tensor, Tensor] | None:
        """What is added to queries and values, both [N, T, D], given the tokens u [N, T, D] that they come from."""
        return None

    def beside_mlp(self, h: Tensor) -> Tensor | None:
        """What is added to the MLP's output, [N, T, D], given its input h [N, T, D]."""
        return None


# The adapter of a dataset without specialist.
NONE = Adapter()


class Specialist(nn.ModuleList):
    """The adapters of one specialist, one per block of the ViT."""

    if TYPE_CHECKING:
        # Torch's list says that its modules are any.
        class _Kind(Adapter, nn.Module): ...

        @overload
        def __getitem__(self, idx: slice) -> nn.ModuleList: ...
        @overload
        def __getitem__(self, idx: int) -> _Kind: ...
        def __getitem__(self, idx: int | slice) -> _Kind | nn.ModuleList:
            """Return the adapter of a block, or those of some."""

        def __iter__(self) -> Iterator[_Kind]:
            """Yield the adapters."""

    def __init__(self, depth: int, make: Callable[[], nn.Module]) -> None:
        """Make `depth` adapters."""
        super().__init__(make() for _ in range(depth))
