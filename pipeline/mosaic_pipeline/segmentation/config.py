"""The resolved configuration of one variant of segmentation: all that determines its training, and nothing else."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator
from typing_extensions import Self

from mosaic_pipeline.fields import Count, Fraction, NonNegative, Number, Positive, WholeNumber
from mosaic_pipeline.reading import first_problem, read_yaml, reading
from mosaic_pipeline.segmentation.datasets import LabelledSet, read_form

if TYPE_CHECKING:
    from mosaic_pipeline.params import Params
    from mosaic_pipeline.segmentation.model.m4oe import Phase


class Values(BaseModel):
    """A part of a configuration: immutable, and no key but the declared ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def misfit(dim: int, depths: Sequence[int], heads: Sequence[int], patch: int, size: int) -> str | None:
    """Say in one line, which starts with the key, why no trunk has this shape, if that is so."""
    if len(heads) != len(depths):
        return f"heads: {len(heads)} stages, but depths has {len(depths)}"
    for stage, count in enumerate(heads):
        if dim * 2**stage % count:
            return f"heads: stage {stage} has {dim * 2**stage} channels, no multiple of {count}"
    step = patch * 2 ** (len(depths) - 1)
    if size % step:
        return f"size: {size} is not a multiple of {step}, which is patch x 2^(stages - 1)"
    return None


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
        if line := misfit(self.dim, self.depths, self.heads, self.patch, self.size):
            raise ValueError(line)
        return self

    @property
    def coarsest_side(self) -> int:
        """Tokens a side of the coarsest stage."""
        return self.size // self.patch // 2 ** (len(self.depths) - 1)


class Experts(Values):
    """Which expert serves which dataset, where experts are, and what mixes them; None is what the variant has not.

    So many `added` ones, the last by name, join when all else is trained.
    """

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
    added: Count | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if set(self.of.values()) != set(self.names):
            raise ValueError(f"of: routed to {sorted(set(self.of.values()))}, but names are {sorted(self.names)}")
        if self.mix == "gated" and (self.gate is None or len(self.names) < 2 or self.routing == "single"):
            raise ValueError("mix: gated needs a gate, and several experts in one network")
        if self.added and (self.mix == "gated" or self.head == "union" or self.added >= len(self.names)):
            raise ValueError("added: takes hard experts, a head for each dataset, and one expert that is there before")
        return self


class Augment(Values):
    """Largest rotation in degrees, largest changes of scale and intensity, and whether images are mirrored."""

    rotate: NonNegative
    scale: Fraction
    intensity: NonNegative
    flip: bool


class Recipe(Values):
    """The training recipe; None is what cannot matter.

    Those are the ratio of masks without masked modelling, tau with another order than `balanced`, and the form of a
    Dice without weight.
    """

    pretrain_rounds: WholeNumber
    mask_ratio: Fraction | None
    expert_rounds: WholeNumber
    gate_rounds: WholeNumber
    batch_size: Count
    order: Literal["registry", "interleaved", "balanced"]
    tau: Annotated[Number, Field(ge=0, le=1)] | None = None
    optimiser: Literal["adamw", "sgd"]
    lr: Positive
    schedule: Literal["cosine", "poly"]
    warmup_rounds: NonNegative = 0
    ce: NonNegative
    dice: NonNegative
    dice_form: Literal["foreground", "released"] | None
    class_weight: NonNegative
    augment: Augment
    grad_clip: Positive
    weight_decay: NonNegative
    early_stopping_patience: Count
    min_delta: NonNegative = 0


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

    @property
    def rounds(self) -> "dict[Phase, int]":
        """Rounds of each phase that there is, in order; an expert that joins gets as many as the others had."""
        recipe = self.train
        rounds: dict[Phase, int] = {
            "pretrain": recipe.pretrain_rounds,
            "experts": recipe.expert_rounds,
            "gate": recipe.gate_rounds,
            "adapt": recipe.expert_rounds if self.experts.added else 0,
        }
        return {phase: count for phase, count in rounds.items() if count}

    def datasets_in(self, phase: str) -> tuple[str, ...]:
        """Return the datasets that a phase trains: before `adapt` all but those of the experts that join there."""
        joining = self.experts.names[-self.experts.added :] if self.experts.added else ()
        return tuple(name for name in self.datasets if (self.experts.of[name] in joining) == (phase == "adapt"))

    def for_seed(self, seed: int) -> "Config":
        """Return the configuration of one training: who shares an expert at random is drawn by its seed."""
        if self.experts.routing != "random":
            return self
        of = draw_experts(self.experts.of, seed)
        names = tuple(dict.fromkeys(of.values()))
        experts = Experts.model_validate(self.experts.model_dump() | {"of": of, "names": names})
        return self.model_copy(update={"experts": experts})


def draw_experts(own: Mapping[str, str], seed: int) -> dict[str, str]:
    """Deal datasets to experts at random, so that others share one than with their `own`; as they are if none could.

    As many experts are there as before, unless each dataset had its own: then two of them share one. An expert is
    called by the first of its datasets.
    """
    count = len(set(own.values()))
    used = count - (count == len(own))
    if used < 2:
        return dict(own)
    generator = random.Random(f"segmentation experts {seed}")
    while True:
        dealt, first = {dataset: generator.randrange(used) for dataset in own}, dict[int, str]()
        of = {dataset: first.setdefault(number, dataset) for dataset, number in dealt.items()}
        if len(first) == used and _sharing(of) != _sharing(own):
            return of


def _sharing(of: Mapping[str, str]) -> set[frozenset[str]]:
    """Which datasets share an expert, whatever its name."""
    return {frozenset(dataset for dataset in of if of[dataset] == expert) for expert in of.values()}


def resolve(params: "Params", variant: str, sets: Mapping[str, LabelledSet]) -> Config:
    """Return the configuration of a variant on these sets, with None for every key that cannot influence it."""
    section = params.segmentation_variant(variant)
    model, experts, train = section.model, section.experts, section.train
    of = {name: _expert(experts.routing, name, each) for name, each in sets.items()}
    names = tuple(dict.fromkeys(of.values()))
    gated = experts.mix == "gated" and len(names) > 1 and experts.routing != "single"
    gate_rounds = train.gate_rounds if gated else 0
    # Without a gate its rounds are rounds of the experts, so that all variants do the same number of steps.
    expert_rounds = train.expert_rounds + train.gate_rounds - gate_rounds
    warmed = train.schedule == "cosine" and train.pretrain_rounds + expert_rounds > 0
    recipe = train.model_dump() | {
        "expert_rounds": expert_rounds,
        "gate_rounds": gate_rounds,
        "mask_ratio": train.mask_ratio if train.pretrain_rounds else None,
        "warmup_rounds": train.warmup_rounds if warmed else 0,
        "tau": train.tau if train.order == "balanced" else None,
        "dice_form": train.dice_form if train.dice else None,
    }
    shape = model.model_dump(exclude={"weights", "weights_sha256"}) | {"weights": True if model.weights else None}
    routed = experts.model_dump() | {
        "of": of,
        "names": names,
        "mix": "gated" if gated else "hard",
        "gate": experts.gate if gated else None,
        "gate_start": experts.gate_start if gated and experts.gate != "released" else None,
        "gate_trains": experts.gate_trains if gated else None,
        "added": experts.added or None,
    }
    return Config.model_validate(
        {
            "datasets": dict(sets),
            "model": shape,
            "experts": routed,
            "train": recipe,
            "precision": params.compute.precision,
        }
    )


def _expert(routing: str, name: str, dataset: LabelledSet) -> str:
    """Return whose expert serves a dataset; at random it is dealt anew, against those of modalities (`for_seed`)."""
    return {"shared": "shared", "modality": dataset.modality, "random": dataset.modality}.get(routing, name)


def dump_config(config: Config) -> str:
    """Return the configuration as YAML, the same bytes for the same values; keys without influence are left out."""
    return yaml.safe_dump(config.model_dump(mode="json", exclude_none=True), sort_keys=False)


def load_config(path: Path) -> Config:
    """Read what `dump_config` wrote. Raises PipelineError if the file is missing or not such a file."""
    tree = read_yaml(path)
    with reading(path):
        return parse_config(tree)


def parse_config(tree: Any) -> Config:
    """Return the configuration of a tree whose keys without influence were left out. Raises ValueError, in one line."""
    sections: dict[str, type[BaseModel]] = {"model": Architecture, "experts": Experts, "train": Recipe}
    if not isinstance(tree, dict) or not all(isinstance(tree.get(section), dict) for section in sections):
        raise ValueError("not a configuration")
    filled = {
        name: {key: None for key, field in kind.model_fields.items() if field.is_required()} | tree[name]
        for name, kind in sections.items()
    }
    try:
        return Config.model_validate(tree | filled)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None
