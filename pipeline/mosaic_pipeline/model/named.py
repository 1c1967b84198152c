"""Modules by the names of datasets and specialists, which people choose."""

from typing import Any

from torch import nn


class Named(nn.ModuleDict):
    """A ModuleDict that takes any name: torch's refuses those of its own attributes, such as `train` and `half`."""

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Keep a module under a name."""
        self._modules[name] = module

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; of what modules set while they are in use, `training` alone can be the name of one."""
        if name == "training":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)
