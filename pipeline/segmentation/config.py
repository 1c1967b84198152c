"""The resolved configuration of one variant: all that determines its training, and nothing else."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from typing_extensions import Self

from pipeline.fields import Count, Fraction, NonNegative, Positive, WholeNumber
from pipeline.segmentation.datasets import LabelledSet, read_form


class Values(BaseModel):
    """A part of a configuration: immutable, and no key but the declared ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Architecture(Values):
    """Shape of the trunk; `weights` is True where it starts from what the weights stage wrote."""

    dim: Count
    depths: tuple[Count, ...] = Field(min_length=2)
    heads: tuple[Count, ...]
    window: Count
    patch: Count
    size: Count
    channels: Literal[1, 3]
    drop_path: Fraction
    weights: Literal[True] | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.heads) != len(self.depths):
            raise ValueError(f"heads: {len(self.heads)} stages, but depths has {len(self.depths)}")
        for stage, heads in enumerate(self.heads):
            if self.dim * 2**stage % heads:
                raise ValueError(f"heads: stage {stage} has {self.dim * 2**stage} channels, no multiple of {heads}")
        step = self.patch * 2 ** (len(self.depths) - 1)
        if self.size % step:
            raise ValueError(f"size: {self.size} is no multiple of {step}, patch x 2^(stages - 1)")
        return self


class Experts(Values):
    """Which expert serves which dataset, where experts are, and what mixes them; None is what the variant has not."""

    routing: Literal["modality", "dataset", "shared", "random", "single"]
    of: dict[str, str] = Field(min_length=1)
    names: tuple[str, ...]
    where: Literal["both", "encoder", "decoder"]
    mix: Literal["hard", "gated"]
    gate: Literal["tokens", "image", "released"] | None
    gate_start: Literal["uniform", "own"] | None
    gate_trains: Literal["all", "gates_heads_norms"] | None
    head: Literal["dataset", "union"]
    width: Count

    @model_validator(mode="after")
    def _check(self) -> Self:
        if set(self.of.values()) != set(self.names):
            raise ValueError(f"of: routed to {sorted(set(self.of.values()))}, but names are {sorted(self.names)}")
        if self.mix == "gated" and (self.gate is None or len(self.names) < 2 or self.routing == "single"):
            raise ValueError("mix: gated needs a gate, and several experts in one network")
        return self


class Augment(Values):
    """Largest rotation in degrees, largest changes of scale and intensity, and whether images are mirrored."""

    rotate: NonNegative
    scale: Fraction
    intensity: NonNegative
    flip: bool


class Recipe(Values):
    """The training recipe; None is what cannot matter."""

    pretrain_rounds: WholeNumber
    mask_ratio: Fraction | None
    expert_rounds: WholeNumber
    gate_rounds: WholeNumber
    batch_size: Count
    order: str
    optimiser: Literal["adamw", "sgd"]
    lr: Positive
    schedule: str
    ce: NonNegative
    dice: NonNegative
    dice_form: Literal["foreground", "released"] | None
    class_weight: NonNegative
    augment: Augment
    grad_clip: Positive
    weight_decay: NonNegative
    patience: Count


def _read_forms(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: form if isinstance(form, LabelledSet) else read_form(form) for name, form in value.items()}


def _write_forms(datasets: dict[str, LabelledSet]) -> dict[str, Any]:
    return {name: dataset.form() for name, dataset in datasets.items()}


class Config(Values):
    """One variant, resolved; `datasets` are in the order of experts and heads."""

    datasets: Annotated[
        dict[str, LabelledSet], BeforeValidator(_read_forms), PlainSerializer(_write_forms), Field(min_length=1)
    ]
    model: Architecture
    experts: Experts
    train: Recipe
    precision: Literal["fp32", "bf16"]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if set(self.experts.of) != set(self.datasets):
            raise ValueError(f"experts.of: {', '.join(self.experts.of)} are not those of datasets")
        return self
