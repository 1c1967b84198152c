"""Routing: a table dataset -> specialist, fixed before training (paper, section 2), and what it is compared with."""

import random
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.model.kinds import KINDS, Kind
from mosaic_pipeline.params import Adapter, Count, Seed

SHARED = "shared"
# In the table of a variant whose groups are drawn, until a training's seed draws them.
RANDOM = "random"


class Routing(BaseModel):
    """Which specialist and which 3D tokenizer serve which dataset, and of what kind and size the specialists are.

    `datasets` keeps the order in which a round visits the datasets; a dataset routed to None has no specialist. `sizes`
    are widths of bottlenecks, ranks of LoRAs or numbers of prompts. `tokenizers` has the 3D datasets alone. With a
    `gate` the last `gate_rounds` of the training mix all specialists for every dataset, at `gate_start` alike or mostly
    the dataset's own. With a `random_seed` the groups are drawn: RANDOM stands in the table until `for_seed`, which
    deals out the datasets of `drawn`, each there with its own group.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    sizes: dict[str, Count]
    datasets: dict[str, str | None] = Field(min_length=1)
    tokenizers: dict[str, str]
    random_seed: Seed | None = None
    drawn: dict[str, str] | None = None
    gate: Literal["tokens", "image"] | None = None
    gate_start: Literal["uniform", "routing"] | None = None
    gate_rounds: Count | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        routed = {specialist for specialist in self.datasets.values() if specialist is not None}
        if self.drawn is None and routed != set(self.sizes):
            raise ValueError(f"routed to {sorted(routed)}, but sizes are given for {sorted(self.sizes)}")
        if self.drawn is not None:
            open_ = {name for name, specialist in self.datasets.items() if specialist == RANDOM}
            if set(self.drawn) != open_ or len(set(self.drawn.values())) < 2 or self.random_seed is None:
                raise ValueError("drawn: not two groups or more, of the datasets whose specialist is drawn")
        return self

    def for_seed(self, seed: int) -> "Routing":
        """Return the table of a training's seed: this one, unless the groups are still to be drawn."""
        if self.drawn is None:
            return self
        table = self.datasets | _permuted(self.drawn, f"{self.random_seed} {seed}")
        return Routing(**self.model_dump() | {"datasets": table, "drawn": None})


def build_routing(adapter: Adapter, datasets: Mapping[str, Dataset], groups: Mapping[str, str]) -> Routing:
    """Return the table that `adapter.routing` names, for the given datasets, and the specialists' sizes.

    `groups` has the specialist of each dataset, in an order that the training order does not change: in it they are
    dealt out where groups are random.
    The same for all seeds: random groups have their sizes here, and are drawn by `Routing.for_seed`.
    Without specialists (`adapter.kind` none) all are routed to None; 3D datasets routed apart have 3D tokenizers of
    their own all the same.
    """
    apart = adapter.routing == "per_dataset"
    tokenizers = {name: name if apart else SHARED for name, form in datasets.items() if form.dimension == 3}
    if adapter.kind == "none":
        return Routing(name="none", kind="none", sizes={}, datasets=dict.fromkeys(datasets), tokenizers=tokenizers)
    table = _table(adapter, datasets, groups)
    sizes = {name: _size(adapter, name, groups) for name in dict.fromkeys(sorted(table.values()))}
    flat = {name: group for name, group in groups.items() if datasets[name].dimension == 2}
    drawn = flat if adapter.routing == RANDOM and len(set(flat.values())) > 1 else None
    gated = adapter.routing == "gated"
    return Routing(
        name=adapter.routing,
        kind=adapter.kind,
        sizes=sizes,
        datasets={**table, **dict.fromkeys(drawn or {}, RANDOM)},
        tokenizers=tokenizers,
        random_seed=adapter.random_seed if drawn else None,
        drawn=drawn,
        gate=adapter.gate if gated else None,
        gate_start=adapter.gate_start if gated else None,
        gate_rounds=adapter.gate_rounds if gated else None,
    )


def _table(adapter: Adapter, datasets: Mapping[str, Dataset], groups: Mapping[str, str]) -> dict[str, str]:
    if adapter.routing == "shared":
        return dict.fromkeys(datasets, SHARED)
    if adapter.routing == "per_dataset":
        return {name: name for name in datasets}
    if adapter.routing == "modality":
        return {name: f"{form.dimension}D" for name, form in datasets.items()}
    return {name: groups[name] for name in datasets}


def _permuted(groups: dict[str, str], seed: str) -> dict[str, str]:
    """Deal the datasets out to groups of the same sizes at random, but never to the groups that they are in.

    There must be two of these.
    """
    labels = list(groups.values())
    generator, drawn = random.Random(seed), list(labels)
    while drawn == labels:
        generator.shuffle(drawn)
    return dict(zip(groups, drawn, strict=True))


def _size(adapter: Adapter, specialist: str, groups: Mapping[str, str]) -> int:
    """Size of a specialist; a bottleneck of a single dataset is as wide as that of the dataset's group, unless told."""
    if (key := KINDS[adapter.kind].size) is not None:
        return getattr(adapter, key)
    if adapter.routing == "per_dataset":
        if adapter.bottleneck_per_dataset is not None:
            return adapter.bottleneck_per_dataset
        specialist = groups[specialist]
    if specialist == SHARED and adapter.bottleneck_shared is None:
        return sum(adapter.letters[group] for group in set(groups.values()))
    return getattr(adapter, f"bottleneck_{specialist.lower()}")
