"""The resolved configuration of one variant: all that determines its training, and nothing else.

Stages after `tune` depend on this file rather than on params.yaml, so that a changed parameter retrains the
variants that it influences and no other.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator
from typing_extensions import Self

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.forms import read_form
from mosaic_pipeline.model.kinds import KINDS, KindSettings
from mosaic_pipeline.model.routing import Routing, build_routing
from mosaic_pipeline.params import (
    BackboneArgs,
    Count,
    Fraction,
    Normalisation,
    Params,
    Positive,
    Train,
    WholeNumber,
)
from mosaic_pipeline.present import present
from mosaic_pipeline.reading import first_problem, read_yaml, reading


class Vit(BaseModel):
    """The ViT, what it sees and how it starts; None is what the variant does not have.

    Those are arguments of timm's where none is given, `pretrained` where the weights are those of the weights stage,
    the statistics where nothing goes through the ViT's patches or starts from them, volume and tokenizer keys without
    3D datasets or with slices, and the slices with a tokenizer of volumes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str
    backbone_args: BackboneArgs | None
    patch_size: Count
    image_size: Count
    volume_patch_size: Count | None
    volume_size: Count | None
    normalisation: Normalisation | None
    embedding_norm: bool
    pretrained: Literal[False] | None
    frozen: bool
    tokenizer_init: Literal["random", "inflate"] | None
    tokenizer_trained: bool | None
    slices: Count | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for size, patch in (("image_size", "patch_size"), ("volume_size", "volume_patch_size")):
            pixels, patch_pixels = getattr(self, size), getattr(self, patch)
            if pixels and patch_pixels and pixels % patch_pixels:
                raise ValueError(f"{size}: {pixels} is not a multiple of {patch} {patch_pixels}")
        return self

    def size(self, dimension: int) -> int | None:
        """Pixels or voxels a side of what the model sees of a 2D or a 3D dataset; None: as stored, to be cut."""
        return self.image_size if dimension == 2 else self.volume_size


class Architecture(KindSettings, Vit):
    """Shape of the model and how it starts: the ViT, and what its kind of specialist has beside the sizes."""


class Recipe(Train):
    """The training recipe; None is what cannot matter.

    Those are tau with another order than `balanced`, the form of a consistency without weight, class weights that are
    all alike, `flip_sided` without left and right organs, the choice of a round where datasets share what is trained,
    the tolerance without grades, the rate of a strength of prompts that is not learned, and `conflict_cases` where the
    datasets do not share one specialist.
    """

    consist_form: Literal["mix", "add"] | None  # type: ignore[assignment]  # None is more than params.yaml allows
    class_weights: Literal["balanced"] | None  # type: ignore[assignment]  # None is more than params.yaml allows
    flip_sided: bool | None  # type: ignore[assignment]  # None is more than params.yaml allows
    deploy: Literal["joint", "dataset"] | None  # type: ignore[assignment]  # None is more than params.yaml allows
    grade_tolerance: WholeNumber | None  # type: ignore[assignment]  # None is more than params.yaml allows
    prompt_strength_lr: Positive | None
    conflict_cases: WholeNumber | None  # type: ignore[assignment]  # None is more than params.yaml allows


class Momentum(BaseModel):
    """EMA momentum by dimension of the dataset; None where there is no such dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    d2: Fraction | None
    d3: Fraction | None
    update: Literal["step", "visit"]

    def of(self, dimension: int) -> float:
        """Momentum for a 2D or a 3D dataset."""
        return present(self.d2 if dimension == 2 else self.d3)


def _read_forms(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: form if isinstance(form, Dataset) else read_form(name, form) for name, form in value.items()}


def _write_forms(datasets: dict[str, Dataset]) -> dict[str, Any]:
    return {name: dataset.form() for name, dataset in datasets.items()}


class Config(BaseModel):
    """One variant, resolved; `datasets` are in training order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    datasets: Annotated[
        dict[str, Dataset], BeforeValidator(_read_forms), PlainSerializer(_write_forms), Field(min_length=1)
    ]
    model: Architecture
    routing: Routing
    train: Recipe
    momentum: Momentum
    precision: Literal["fp32", "bf16"]

    @model_validator(mode="after")
    def _check(self) -> Self:
        model, recipe = self.model, self.train
        if list(self.routing.datasets) != list(self.datasets):
            raise ValueError(
                f"routing.datasets: {', '.join(self.routing.datasets)} are not those of datasets, in order"
            )
        volumes = {name for name, dataset in self.datasets.items() if dataset.dimension == 3}
        if volumes != set(self.routing.tokenizers):
            given = sorted(self.routing.tokenizers)
            raise ValueError(f"routing.tokenizers: given for {given}, but 3D datasets are {sorted(volumes)}")
        sliced, inflated = model.slices is not None, model.tokenizer_init == "inflate"
        matters = _matters(self.datasets, self.routing, recipe, sliced, inflated, model.prompt_strength, model.frozen)
        for section, of_section in matters.items():
            values = getattr(self, section)
            for key, needed in of_section.items():
                if needed and getattr(values, key) is None:
                    raise ValueError(f"{section}.{key}: missing, and this variant needs it")
        return self

    def for_seed(self, seed: int) -> "Config":
        """Return the configuration of one training: the groups of random routing are those that its seed draws."""
        return self.model_copy(update={"routing": self.routing.for_seed(seed)})


def resolve(params: Params, variant: str, values: Mapping[str, Any] | None = None) -> Config:
    """Return the configuration of a variant, with None for every key that cannot influence it.

    `values` of ablation.tune.grid, by dotted key, win over the variant's own.
    """
    resolved = params.variant(variant, values=values)
    model, train = resolved.model, resolved.train
    datasets = {name: resolved.data.form(name) for name in resolved.data.datasets}
    routing = build_routing(resolved.adapter, datasets, resolved.data.groups())
    sliced = resolved.tokenizer_3d.kind == "slices" and bool(routing.tokenizers)
    sections = {
        "model": {
            "backbone": model.backbone,
            "backbone_args": model.backbone_args.given() or None,
            "patch_size": model.patch_size,
            "image_size": model.image_size,
            "volume_patch_size": model.volume_patch_size,
            "volume_size": model.volume_size,
            "normalisation": model.normalisation,
            "embedding_norm": model.embedding_norm,
            "pretrained": False if model.weights and not resolved.backbone.pretrained else None,
            "frozen": resolved.backbone.frozen,
            "tokenizer_init": resolved.tokenizer_3d.init,
            "tokenizer_trained": resolved.tokenizer_3d.trained,
            "slices": resolved.tokenizer_3d.slices if sliced else None,
        }
        | {name: getattr(resolved.adapter, key) for form in KINDS.values() for name, key in form.settings.items()},
        "train": train.model_dump() | {"prompt_strength_lr": resolved.adapter.prompt_strength_lr},
        "momentum": {"d2": resolved.ema.momentum, "d3": resolved.ema.momentum_3d, "update": resolved.ema.update},
    }
    inflated, strength = resolved.tokenizer_3d.init == "inflate", resolved.adapter.prompt_strength
    matters = _matters(datasets, routing, train, sliced, inflated, strength, resolved.backbone.frozen)
    matters["train"]["deploy"] = resolved.apart
    influential = {
        section: {key: value if matters[section].get(key, True) else None for key, value in values.items()}
        for section, values in sections.items()
    }
    return Config.model_validate(
        {"datasets": datasets} | influential | {"routing": routing, "precision": resolved.compute.precision}
    )


def _matters(
    datasets: Mapping[str, Dataset],
    routing: Routing,
    train: Train,
    sliced: bool,
    inflated: bool,
    prompt_strength: float | None,
    frozen: bool,
) -> dict[str, dict[str, bool]]:
    """Return by section which of the keys that some variants do not have can influence one of this kind."""
    forms = datasets.values()
    images, volumes = (any(each.dimension == dimension for each in forms) for dimension in (2, 3))
    tokenized, prompt = volumes and not sliced, routing.kind == "prompt"
    of_kind = KINDS[routing.kind].settings if routing.kind in KINDS else {}
    return {
        "model": {
            "volume_patch_size": tokenized,
            "volume_size": tokenized,
            "normalisation": images or sliced or (tokenized and inflated),
            "tokenizer_init": tokenized,
            "tokenizer_trained": tokenized,
        }
        | {setting: setting in of_kind for setting in KindSettings.model_fields},
        "train": {
            "tau": train.order == "balanced",
            "consist_form": train.consist_weight > 0,
            "class_weights": train.class_weights == "balanced",
            "flip_sided": any(each.sided for each in forms),
            "deploy": routing.name == "per_dataset" and frozen,
            "grade_tolerance": any(each.task == "ordinal-regression" for each in forms),
            "prompt_strength_lr": prompt and prompt_strength != 1,
            "conflict_cases": len(routing.sizes) == 1 < len(datasets),
        },
        "momentum": {"d2": images, "d3": volumes},
    }


def dump_config(config: Config) -> str:
    """Return the configuration as YAML, the same bytes for the same values; keys without influence are left out."""
    return yaml.safe_dump(config_tree(config), sort_keys=False)


def config_tree(config: Config) -> dict[str, Any]:
    """Return what `dump_config` writes, as a tree."""
    return _without_none(config.model_dump())


def load_config(path: Path) -> Config:
    """Read what `dump_config` wrote. Raises PipelineError if the file is missing or not such a file."""
    tree = read_yaml(path)
    with reading(path):
        return parse_config(tree)


def parse_config(tree: Any) -> Config:
    """Return the configuration whose `config_tree` this is. Raises ValueError, with a line on why, if it is none."""
    sections = {"model": Architecture.model_fields, "train": Recipe.model_fields, "momentum": Momentum.model_fields}
    if not isinstance(tree, dict) or not all(isinstance(tree.get(section), dict) for section in sections):
        raise ValueError("not a configuration")
    filled = {section: dict.fromkeys(keys) | tree[section] for section, keys in sections.items()}
    try:
        config = Config.model_validate(tree | filled, strict=True)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None
    if line := config.train.clash():
        raise ValueError(f"train.{line}")
    return config


def _without_none(tree: dict) -> dict:
    # The routing table keeps its None: there it says "no specialist".
    return {
        key: value if key == "datasets" else _without_none(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if value is not None
    }
