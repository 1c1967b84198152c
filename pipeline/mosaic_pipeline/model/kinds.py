"""The kinds of specialist in one table: all that anything but a kind's own file knows of it.

Nothing here imports torch, because params.yaml is checked before that: what a kind does is in the file beside this one
that is called as it is, and `build` there makes one. One more kind is such a file, its name, keys and row here, and the
values of the keys in params.yaml (CONTRIBUTING.md has an example).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mosaic_pipeline.fields import Count, NonNegative, Positive, Section

Kind = Literal["bottleneck", "lora", "prompt", "none"]


class KindKeys(Section):
    """What `adapter` in params.yaml holds for single kinds; the widths of bottlenecks, by routing, are not among it."""

    scale: Positive
    layer_norm: bool
    lora_rank: Count
    prompt_tokens: Count
    prompt_strength: NonNegative
    prompt_strength_lr: Positive


class KindSettings(BaseModel):
    """What a configuration holds of its kind beside the sizes; None is what another kind has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    adapter_scale: Positive | None
    adapter_layer_norm: bool | None
    prompt_strength: NonNegative | None


@dataclass(frozen=True)
class Form:
    """Which keys a kind has.

    `size` is the one of KindKeys with the size of every specialist; None: each has its own, `adapter.bottleneck_...`.
    `settings` are fields of KindSettings, each with its key of KindKeys.
    """

    size: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


# All kinds but none.
KINDS: dict[str, Form] = {
    "bottleneck": Form(settings={"adapter_scale": "scale", "adapter_layer_norm": "layer_norm"}),
    "lora": Form(size="lora_rank"),
    "prompt": Form(size="prompt_tokens", settings={"prompt_strength": "prompt_strength"}),
}
