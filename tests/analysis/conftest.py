from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch

from mosaic_pipeline.analysis.subject import Cases, Subject
from mosaic_pipeline.data.batches import Split
from mosaic_pipeline.model.mosaic import Mosaic

CPU = torch.device("cpu")
ONE_OF_EACH = ("retinamnist", "breastmnist", "chestmnist", "nodulemnist3d")


@pytest.fixture
def make_subject(make_model, make_config, cached) -> Callable[..., Subject]:
    """Build a model whose trainable tensors are moved off their start, with its cases; keywords as for `make_config`.

    `folders` names the cached dataset to read in place of another one.
    """

    def make(
        datasets: Iterable[str] = ONE_OF_EACH,
        *,
        trained: bool = True,
        limit: int = 10,
        batch_size: int = 4,
        folders: dict[str, str] | None = None,
        **overrides,
    ) -> Subject:
        model = make_model(datasets, **overrides)
        if trained:
            as_if_trained(model)
        folders = {name: name for name in datasets} | (folders or {})
        cases = {
            name: Cases.choose(Split(Path(cached) / folder, "val", CPU), limit) for name, folder in folders.items()
        }
        return Subject(model, make_config(datasets, **overrides), cases, batch_size)

    return make


@torch.no_grad()
def as_if_trained(model: Mosaic) -> None:
    """Move every trainable tensor by noise, the same for the same names."""
    generator = torch.Generator().manual_seed(1)
    for tensor in model.trainable_state().values():
        tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
