"""The resolved configuration of one variant: all that determines its training, and nothing else.

Stages after `tune` depend on this file rather than on params.yaml, so that a changed parameter retrains the
variants that it influences and no other.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.datasets import DATASETS
from pipeline.errors import PipelineError
from pipeline.model.routing import Routing, build_routing
from pipeline.params import Params, Train


class Architecture(BaseModel):
    """Shape of the model and how it starts; None is what the variant does not have.

    Those are the statistics without 2D datasets, volume and tokenizer keys without 3D ones or with slices, the slices
    with a tokenizer of volumes, the adapter keys without bottlenecks, the strength without prompts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str
    patch_size: int
    image_size: int
    volume_patch_size: int | None
    volume_size: int | None
    normalisation: Literal["half", "imagenet"] | None
    embedding_norm: bool
    frozen: bool
    tokenizer_init: Literal["random", "inflate"] | None
    tokenizer_trained: bool | None
    slices: int | None
    adapter_scale: float | None
    adapter_layer_norm: bool | None
    prompt_strength: float | None

    def size(self, dimension: int) -> int | None:
        """Pixels or voxels a side of what the model sees of a 2D or a 3D dataset; None: as stored, to be cut."""
        return self.image_size if dimension == 2 else self.volume_size


class Recipe(Train):
    """The training recipe; None is what cannot matter.

    Those are tau with another order than `balanced`, the form of a consistency without weight, class weights that are
    all alike, `flip_sided` without left and right organs, the choice of a round where datasets share what is trained,
    the tolerance without grades, the rate of a strength of prompts that is not learned, and `conflict_cases` where the
    datasets do not share one specialist.
    """

    consist_form: Literal["mix", "add"] | None
    class_weights: Literal["balanced"] | None
    flip_sided: bool | None
    deploy: Literal["joint", "dataset"] | None
    grade_tolerance: int | None
    prompt_strength_lr: float | None
    conflict_cases: int | None


class Momentum(BaseModel):
    """EMA momentum by dimension of the dataset; None where there is no such dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    d2: float | None
    d3: float | None
    update: Literal["step", "visit"]

    def of(self, dimension: int) -> float:
        """Momentum for a 2D or a 3D dataset."""
        return self.d2 if dimension == 2 else self.d3


class Config(BaseModel):
    """One variant, resolved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Architecture
    routing: Routing
    train: Recipe
    momentum: Momentum
    precision: Literal["fp32", "bf16"]

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets in training order."""
        return tuple(self.routing.datasets)

    def for_seed(self, seed: int) -> "Config":
        """Return the configuration of one training: the groups of random routing are those that its seed draws."""
        return self.model_copy(update={"routing": self.routing.for_seed(seed)})


def resolve(params: Params, variant: str, values: Mapping[str, Any] | None = None) -> Config:
    """Return the configuration of a variant, with None for every key that cannot influence it.

    `values` of ablation.tune.grid, by dotted key, win over the variant's own.
    """
    resolved = params.variant(variant, values=values)
    model, datasets = resolved.model, resolved.data.datasets
    routing = build_routing(resolved.adapter, datasets)
    dimensions = {DATASETS[name].dimension for name in datasets}
    volumes = 3 in dimensions
    sliced = volumes and resolved.tokenizer_3d.kind == "slices"
    tokenized = volumes and not sliced
    bottleneck, prompt, train = routing.kind == "bottleneck", routing.kind == "prompt", resolved.train
    sided = any(DATASETS[name].sided for name in datasets)
    graded = any(DATASETS[name].task == "ordinal-regression" for name in datasets)
    matters = {
        "tau": train.order == "balanced",
        "consist_form": train.consist_weight > 0,
        "class_weights": train.class_weights != "none",
        "flip_sided": sided,
        "deploy": resolved.apart,
        "grade_tolerance": graded,
        "prompt_strength_lr": prompt and resolved.adapter.prompt_strength != 1,
        "conflict_cases": len(routing.sizes) == 1 < len(datasets),
    }
    recipe = train.model_dump() | {"prompt_strength_lr": resolved.adapter.prompt_strength_lr}
    return Config(
        model=Architecture(
            backbone=model.backbone,
            patch_size=model.patch_size,
            image_size=model.image_size,
            volume_patch_size=model.volume_patch_size if tokenized else None,
            volume_size=model.volume_size if tokenized else None,
            normalisation=model.normalisation if 2 in dimensions else None,
            embedding_norm=model.embedding_norm,
            frozen=resolved.backbone.frozen,
            tokenizer_init=resolved.tokenizer_3d.init if tokenized else None,
            tokenizer_trained=resolved.tokenizer_3d.trained if tokenized else None,
            slices=resolved.tokenizer_3d.slices if sliced else None,
            adapter_scale=resolved.adapter.scale if bottleneck else None,
            adapter_layer_norm=resolved.adapter.layer_norm if bottleneck else None,
            prompt_strength=resolved.adapter.prompt_strength if prompt else None,
        ),
        routing=routing,
        train=Recipe(**{key: value if matters.get(key, True) else None for key, value in recipe.items()}),
        momentum=Momentum(
            d2=resolved.ema.momentum if 2 in dimensions else None,
            d3=resolved.ema.momentum_3d if volumes else None,
            update=resolved.ema.update,
        ),
        precision=resolved.compute.precision,
    )


def dump_config(config: Config) -> str:
    """Return the configuration as YAML, the same bytes for the same values; keys without influence are left out."""
    return yaml.safe_dump(config_tree(config), sort_keys=False)


def config_tree(config: Config) -> dict[str, Any]:
    """Return what `dump_config` writes, as a tree."""
    return _without_none(config.model_dump())


def load_config(path: Path) -> Config:
    """Read what `dump_config` wrote. Raises PipelineError if the file is missing or not such a file."""
    try:
        return parse_config(read_yaml(path, "tune"))
    except ValueError as error:
        raise not_written_by("tune", path, str(error)) from None


def parse_config(tree: Any) -> Config:
    """Return the configuration whose `config_tree` this is. Raises ValueError, with a line on why, if it is none."""
    sections = {"model": Architecture.model_fields, "train": Recipe.model_fields, "momentum": Momentum.model_fields}
    if not isinstance(tree, dict) or not all(isinstance(tree.get(section), dict) for section in sections):
        raise ValueError("no configuration")
    filled = {section: dict.fromkeys(keys) | tree[section] for section, keys in sections.items()}
    try:
        return Config.model_validate(tree | filled)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None


def read_yaml(path: Path, stage: str) -> Any:
    """Read a file that a stage writes. Raises PipelineError, naming the stage, if it is missing or not YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file; `dvc repro {stage}` writes it") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise not_written_by(stage, path, "not YAML") from None


def not_written_by(stage: str, path: Path, reason: str) -> PipelineError:
    """Return the error for a file that holds something else than its stage writes."""
    return PipelineError(f"{path}: not a file of the {stage} stage; `dvc repro {stage}` writes it ({reason})")


def _without_none(tree: dict) -> dict:
    # The routing table keeps its None: there it says "no specialist".
    return {
        key: value if key == "datasets" else _without_none(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if value is not None
    }
