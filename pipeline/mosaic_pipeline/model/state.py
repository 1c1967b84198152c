"""A model's tensors by name, and copying another's into them."""

from collections.abc import Mapping

from torch import Tensor


def load_exactly(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Copy `state` into `own`: exactly these tensors by name, shape and dtype (ValueError otherwise)."""
    if own.keys() != state.keys():
        raise ValueError(f"tensors {sorted(own.keys() ^ state.keys())[:3]} are in only one of model and file")
    for name, tensor in own.items():
        found, expected = ([*each.shape, each.dtype] for each in (state[name], tensor))
        if found != expected:
            raise ValueError(f"{name} is {found}, expected {expected}")
    for name, tensor in own.items():
        tensor.copy_(state[name])
