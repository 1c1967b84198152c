"""What a trained model sees in a dataset that it was not trained on: class tokens, by each of its ways through."""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from mosaic_pipeline.compute import autocast
from mosaic_pipeline.config import Config
from mosaic_pipeline.data.augment import normalise, to_float
from mosaic_pipeline.data.batches import Split, consecutive
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.model.mosaic import Mosaic
from mosaic_pipeline.model.named import Named
from mosaic_pipeline.model.routing import SHARED, Routing


@dataclass(frozen=True)
class Way:
    """A way through a model: a specialist or None for the backbone alone, for volumes the 3D tokenizer before it.

    `gate` mixes all specialists, as the model does whose gates are trained; the specialist is then the one that the
    mixture starts from, where it starts from any.
    """

    specialist: str | None
    tokenizer: str | None = None
    gate: bool = False

    @property
    def name(self) -> str:
        """What logs call it; unlike those of all other ways through a model."""
        behind = f"/{self.tokenizer}" if self.tokenizer not in (None, SHARED) else ""
        return "gate" if self.gate else f"specialist/{self.specialist}" if self.specialist else f"backbone{behind}"

    def record(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)


def own_specialist(routing: Routing, dataset: Dataset, group: str) -> str | None:
    """Return the specialist that a routing would give a further dataset, declared to be of `group`, by its rule.

    None where the rule has none for it: a specialist for each dataset, groups drawn at random, no specialists, or a
    group that no dataset trained.
    """
    by_rule = {
        "specialists": group,
        "gated": group,
        "modality": f"{dataset.dimension}D",
        "shared": SHARED,
    }.get(routing.name)
    return by_rule if by_rule in routing.sizes else None


def ways(routing: Routing, trained: Mapping[str, Dataset], dataset: Dataset, own: str | None) -> list[Way]:
    """Return the ways of a further dataset through a model: backbone first, each specialist in turn, then the gate.

    A volume needs a trained 3D tokenizer. Where datasets have one each, the backbone takes each in turn, and only the
    specialists that were trained behind one have a way, behind their own. Empty if no dataset of this dimension was
    trained: then there is no tokenizer, or it was never said how images are normalised.
    """
    if dataset.dimension not in {each.dimension for each in trained.values()}:
        return []
    tokenizers: list[str | None] = [None]
    if dataset.dimension == 3:
        tokenizers = list(dict.fromkeys(routing.tokenizers.values()))
    found = [Way(None, tokenizer) for tokenizer in tokenizers]
    if len(tokenizers) == 1:
        found += [Way(specialist, tokenizers[0]) for specialist in routing.sizes]
    else:
        found += [Way(specialist, specialist) for specialist in routing.sizes if specialist in tokenizers]
    if routing.gate and (routing.gate_start != "routing" or own):
        found.append(Way(own, tokenizers[0], gate=True))
    return found


def along(model: Mosaic, dataset: Dataset, way: Way) -> Mosaic:
    """Return `model` as it treats a further dataset: its very tensors under a table of its own, without a head."""
    view, routing = copy.copy(model), model.routing
    tokenizers = {dataset.name: way.tokenizer} if way.tokenizer else {}
    view.routing = routing.model_copy(
        update={
            "datasets": routing.datasets | {dataset.name: way.specialist},
            "tokenizers": routing.tokenizers | tokenizers,
        }
    )
    view.datasets = {**model.datasets, dataset.name: dataset}
    view.gated = way.gate
    # Modules are kept in a mapping that the copy shares with the original.
    view._modules = model._modules | {"heads": Named({dataset.name: nn.Identity()})}
    return view


@torch.inference_mode()
def features(view: Mosaic, split: Split, dataset: Dataset, *, config: Config, batch_size: int) -> np.ndarray:
    """Return the class tokens after the final norm, float32 [N, D] in stored order, of images that are not augmented.

    `view` is a model `along` a way; it sees the images as those of its own datasets.
    """
    seen = []
    for batch in split.batches(consecutive(slice(0, len(split)), batch_size)):
        images = to_float(batch.images, dataset.dimension, config.model.size(dataset.dimension))
        with autocast(split.device, config.precision):
            feature, _ = view(normalise(images, view.statistics), dataset.name)
        seen.append(feature.float())
    return torch.cat(seen).cpu().numpy()
