"""Modules by the names of datasets and specialists, which people choose."""

from collections.abc import ItemsView, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


class Named(nn.ModuleDict, Generic[M]):
    """A ModuleDict that takes any name: torch's refuses those of its own attributes, such as `train` and `half`."""

    if TYPE_CHECKING:
        # Torch's says that its modules are any.
        def __init__(self, modules: Mapping[str, M] | None = None) -> None:
            """Take modules by name."""

        def __getitem__(self, key: str) -> M:
            """Return the module of a name."""

        def items(self) -> ItemsView[str, M]:
            """Return names and modules."""

        def values(self) -> ValuesView[M]:
            """Return the modules."""

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Keep a module under a name."""
        self._modules[name] = module  # type: ignore[assignment]  # what is declared for Module; no None comes here

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; of what modules set while they are in use, `training` alone can be the name of one."""
        if name == "training":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)
