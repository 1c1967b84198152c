"""Named random streams: what one component draws never depends on which others exist or on their order."""

import hashlib

import torch


def stream(seed: int, *names: str | int) -> torch.Generator:
    """Return a CPU generator for `names` under `seed`; the same draws on every machine and every device.

    Keyed by name (a specialist, a dataset and its round) rather than drawn in sequence, so that a dataset trained
    with others sees the same batches as one trained alone, and a resumed run those of an uninterrupted one.
    """
    key = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:8], "big") >> 1)
