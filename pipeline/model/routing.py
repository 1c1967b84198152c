"""Hard routing: a table dataset -> specialist, fixed before training (paper, section 2)."""

from pydantic import BaseModel, ConfigDict, model_validator
from typing_extensions import Self

from pipeline.datasets import DATASETS
from pipeline.params import Adapter


class Routing(BaseModel):
    """Which specialist serves which dataset, and how wide each specialist is.

    `datasets` keeps the order in which a round visits the datasets; a dataset routed to None has no specialist.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bottlenecks: dict[str, int]
    datasets: dict[str, str | None]

    @model_validator(mode="after")
    def _check(self) -> Self:
        routed = {specialist for specialist in self.datasets.values() if specialist is not None}
        if routed != set(self.bottlenecks):
            raise ValueError(f"routed to {sorted(routed)}, but bottlenecks are given for {sorted(self.bottlenecks)}")
        return self


def build_routing(adapter: Adapter, datasets: tuple[str, ...]) -> Routing:
    """Return the table that `adapter.routing` names, for the given datasets.

    `specialists` routes by the method's groups A, B, C; `shared` sends all to one specialist; `none` has none.
    """
    if adapter.routing == "specialists":
        table = {name: DATASETS[name].specialist for name in datasets}
        widths = {"A": adapter.bottleneck_a, "B": adapter.bottleneck_b, "C": adapter.bottleneck_c}
    elif adapter.routing == "shared":
        table = dict.fromkeys(datasets, "shared")
        widths = {"shared": adapter.bottleneck_shared}
    else:
        table, widths = dict.fromkeys(datasets), {}
    used = set(table.values())
    return Routing(bottlenecks={name: width for name, width in widths.items() if name in used}, datasets=table)
