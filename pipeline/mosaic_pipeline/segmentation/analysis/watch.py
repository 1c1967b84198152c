"""What modules are given, and what they make of it, while a model is at work."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass
class Watched:
    """First input and output of each module by name, of the last forward pass."""

    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)


@contextmanager
def watching(modules: Mapping[str, nn.Module]) -> Iterator[Watched]:
    """Watch modules for as long as the body runs."""
    watched = Watched()

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            watched.inputs[name], watched.outputs[name] = inputs[0], output

        return hook

    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_hook(keep(name)).remove)
        yield watched
