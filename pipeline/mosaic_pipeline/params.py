"""params.yaml as a typed value: every knob with its legal range, and one clear line for anything else.

The form of everything is checked: keys, types, the range of each value. What cannot run together is asked of the
variants that run (`clash`); one that is merely there may not fit this experiment's rounds.
"""

import difflib
import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from mosaic_pipeline.datasets import MEDMNIST, MOSAIC_ROUTING, Dataset
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.fields import (
    Count,
    Fraction,
    NonNegative,
    Number,
    Positive,
    Section,
    Seed,
    Text,
    Threads,
    VariantName,
    WholeNumber,
    distinct,
    written_as,
)
from mosaic_pipeline.model.kinds import Kind, KindKeys
from mosaic_pipeline.own import Letter, Own
from mosaic_pipeline.segmentation import params as segmentation
from mosaic_pipeline.variants import Variants

PARAMS_FILE = Path("params.yaml")

# The groups a variant may override. Data, seeds and compute are common to all variants of a comparison.
VARIANT_GROUPS = ("model.", "backbone.", "tokenizer_3d.", "adapter.", "train.", "ema.", "compute.precision")

# What the validation score means: candidates that differ in it could not be compared.
Segmentation = segmentation.Segmentation

SCORE_KEYS = ("train.monitor", "train.grade_tolerance")

# What decides the one backbone that all variants share.
SHARED_KEYS = (
    *("model.backbone", "model.backbone_args", "model.patch_size", "model.image_size"),
    *("model.weights", "model.weights_sha256"),
)


def _scalar(value: Any) -> Any:
    if isinstance(value, list | dict):
        raise ValueError("should be a single value")
    # PyYAML reads the 1e-05 that DVC writes as a string.
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


# Names of mosaic_pipeline.data.augment.STATISTICS, and whatever the weights came with.
Normalisation = Literal["auto", "half", "imagenet", "clip"]


class Data(Section):
    """Where images come from and which of them are used."""

    source: Literal["phantom", "mirror", "zenodo"]
    mirror: Text | None
    verify: bool
    allow_leakage: bool
    size_2d: Literal[28, 64, 128, 224]
    size_3d: Literal[28, 64]
    train_limit: Count | None
    eval_limit: Count | None
    datasets: tuple[str, ...] = Field(min_length=1)
    external: tuple[str, ...]
    corruptions: tuple[Literal["noise", "blur", "contrast", "jpeg", "pixelate"], ...]
    own: dict[VariantName, Own]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if taken := [name for name in self.own if name in MEDMNIST]:
            raise ValueError(f"own: {taken[0]} is one of MedMNIST's datasets; one of your own needs another name")
        titles = {name: name for name in MEDMNIST}  # theirs are their names in other capitals
        for name, own in self.own.items():
            other = titles.setdefault("".join(own.title.casefold().split()), name)
            if other != name:
                raise ValueError(f"own: {name}: title: {own.title!r} is that of {other}; tables tell datasets by it")
        known = (*self.own, *MEDMNIST)
        for key in ("datasets", "external", "corruptions"):
            distinct(key, getattr(self, key))
        for key in ("datasets", "external"):
            if unknown := [name for name in getattr(self, key) if name not in known]:
                raise ValueError(f"{key}: {unknown[0]} is {_unknown_dataset(unknown[0], known)}")
        if both := [name for name in self.external if name in self.datasets]:
            raise ValueError(f"external: {both[0]} is one of data.datasets, on which the models are trained")
        trained = {self.own[name].files: name for name in self.datasets if name in self.own}
        for name in self.external:
            if name in self.own and (twin := trained.get(self.own[name].files)):
                raise ValueError(f"external: {name} is read from the path of {twin}, on which the models are trained")
        if self.source == "mirror" and not self.mirror:
            raise ValueError("mirror: source is mirror, so this must be a folder or an http(s) URL")
        if self.source != "mirror" and self.mirror:
            raise ValueError(
                f"mirror: given, but source is {self.source}, which reads none; source must be mirror, or this null"
            )
        return self

    def form(self, name: str) -> Dataset:
        """Return what one of MedMNIST's datasets, or of one's own, is."""
        if name in MEDMNIST:
            return MEDMNIST[name]
        own = self.own[name]
        return Dataset(name, own.dimension, own.channels, len(own.classes), own.task, own.sided)

    def specialist(self, name: str) -> str:
        """Return the specialist that a dataset is routed to."""
        return MOSAIC_ROUTING[name] if name in MEDMNIST else self.own[name].specialist

    def groups(self) -> dict[str, str]:
        """Return the specialist of each dataset to train, in an order that that of a round does not change."""
        known = (*MEDMNIST, *sorted(self.own))
        return {name: self.specialist(name) for name in known if name in self.datasets}

    def size(self, dimension: int) -> int:
        """Source resolution (pixels or voxels a side) for 2D or 3D."""
        return self.size_2d if dimension == 2 else self.size_3d

    def stored_size(self, name: str) -> int:
        """Pixels or voxels a side of the images that are kept of a dataset."""
        own = self.own.get(name)
        return own.size if own and own.size else self.size(self.form(name).dimension)

    def limit(self, split: str) -> int | None:
        """Largest number of images kept of a split."""
        return self.train_limit if split == "train" else self.eval_limit


class Phantom(Section):
    """Split sizes of the generated datasets."""

    train: Count
    val: Count
    test: Count


class BackboneArgs(Section):
    """Arguments of timm's VisionTransformer that differ from those of the named model; None is the model's own."""

    embed_dim: Count | None = None
    depth: Count | None = None
    num_heads: Count | None = None
    mlp_ratio: Positive | None = None
    mlp_layer: Literal["Mlp", "GluMlp", "SwiGLU", "SwiGLUPacked"] | None = None
    act_layer: Text | None = None
    norm_layer: Text | None = None
    init_values: Annotated[Positive, BeforeValidator(_scalar)] | None = None
    reg_tokens: Count | None = None
    qkv_bias: bool | None = None
    proj_bias: bool | None = None
    qk_norm: bool | None = None
    no_embed_class: bool | None = None
    pre_norm: bool | None = None
    final_norm: bool | None = None
    scale_attn_norm: bool | None = None
    scale_mlp_norm: bool | None = None

    def given(self) -> dict[str, Any]:
        """Return those that are given."""
        return self.model_dump(exclude_none=True)


class Model(Section):
    """The ViT and what it sees."""

    backbone: Text
    backbone_args: BackboneArgs
    patch_size: Count
    image_size: Count
    volume_patch_size: Count
    volume_size: Count
    normalisation: Normalisation
    embedding_norm: bool
    weights: Text | None
    weights_sha256: Annotated[str, written_as("[0-9a-f]{64}", "64 hex digits, a to f in lower case")] | None

    def clash(self) -> str | None:
        """Say in one line what cannot run together, if anything."""
        for size, patch in (("image_size", "patch_size"), ("volume_size", "volume_patch_size")):
            if getattr(self, size) % getattr(self, patch):
                return f"{size}: {getattr(self, size)} is not a multiple of {patch} {getattr(self, patch)}"
        return None


class Backbone(Section):
    """Whether the ViT starts from model.weights, and whether it is trained itself."""

    pretrained: bool
    frozen: bool


class Tokenizer3d(Section):
    """How volumes become tokens; where the 3D tokenizer and its positions start, and whether they are trained."""

    kind: Literal["volume", "slices"]
    slices: Count
    init: Literal["random", "inflate"]
    trained: bool


class Adapter(KindKeys):
    """Specialists and their routing; a specialist beside A, B and C has its `bottleneck_<letter>` too."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Count]

    kind: Kind
    routing: Literal["specialists", "modality", "shared", "per_dataset", "random", "gated"]
    bottleneck_a: Count
    bottleneck_b: Count
    bottleneck_c: Count
    bottleneck_2d: Count
    bottleneck_3d: Count
    bottleneck_shared: Count | None
    bottleneck_per_dataset: Count | None
    random_seed: Seed
    gate: Literal["tokens", "image"]
    gate_start: Literal["uniform", "routing"]
    gate_rounds: Count

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, tree: Any) -> Any:
        if isinstance(tree, dict):
            for key in tree:
                if key not in cls.model_fields and not re.fullmatch("bottleneck_[a-z]", str(key)):
                    raise ValueError(f"{key}: unknown key{_suggestion(str(key), cls.model_fields)}")
        return tree

    @property
    def letters(self) -> dict[str, int]:
        """Width of each specialist that has one."""
        widths = {key.removeprefix("bottleneck_"): value for key, value in self.model_dump().items()}
        return {key.upper(): value for key, value in widths.items() if re.fullmatch("[a-z]", key)}


class Train(Section):
    """The cyclic training recipe."""

    num_rounds: Count
    batch_size: Count
    order: Literal["registry", "interleaved", "balanced"]
    tau: Annotated[Number, Field(ge=0, le=1)] | None
    lr: Positive
    schedule: Literal["step", "dataset", "round"]
    weight_decay: NonNegative
    grad_clip: Positive
    warmup_rounds: NonNegative
    consist_weight: Fraction
    consist_form: Literal["mix", "add"]
    class_weights: Literal["none", "balanced"]
    flip_sided: bool
    early_stopping_patience: Count
    min_delta: NonNegative
    monitor: Literal["acc", "auc", "acc_auc"]
    deploy: Literal["joint", "dataset"]
    grade_tolerance: WholeNumber
    validate_visits: bool
    conflict_cases: WholeNumber

    def clash(self) -> str | None:
        """Say in one line what cannot run together, if anything."""
        if self.warmup_rounds > self.num_rounds:
            return f"warmup_rounds: {self.warmup_rounds:g} must be at most num_rounds {self.num_rounds}"
        if self.order == "balanced" and self.tau is None:
            return "tau: order is balanced, so this must be a number from 0 to 1"
        return None


class Ema(Section):
    """Momentum of the teacher, and how often it moves."""

    momentum: Fraction
    momentum_3d: Fraction
    update: Literal["step", "visit"]


class Tune(Section):
    """Which variants are tuned, and what is tried for them."""

    variants: tuple[str, ...]
    grid: dict[str, Annotated[tuple[Annotated[Any, BeforeValidator(_scalar)], ...], Field(min_length=1)]]
    seed: Seed

    @model_validator(mode="after")
    def _check(self) -> Self:
        distinct("variants", self.variants)
        for key, values in self.grid.items():
            distinct(f"grid: {key}", values)
            if key in SCORE_KEYS:
                raise ValueError(f"grid: {key}: decides what the validation score is, by which the values are compared")
        if self.variants and not self.grid:
            raise ValueError(f"grid: empty, but {', '.join(self.variants)} should be tuned")
        return self


class Ablation(Variants):
    """Which variants exist, which of them run, and which of those are analysed or tuned."""

    run: tuple[str, ...] = Field(min_length=1)
    tune: Tune

    def _lists(self) -> dict[str, tuple[str, ...]]:
        return super()._lists() | {"tune.variants": self.tune.variants}


class Report(Section):
    """What the report shows beside our own results."""

    published: Text | None
    margin: Annotated[Number, Field(gt=0, lt=1)] | None


class Compute(Section):
    """How the work is done, never what is computed (precision aside)."""

    device: Annotated[str, written_as(r"auto|cpu|mps|cuda(:\d+)?", "auto, cpu, cuda, cuda:N or mps")]
    precision: Literal["fp32", "bf16"]
    processes: Threads
    max_restarts: WholeNumber
    compile: bool
    device_cache_gb: NonNegative
    workers: Threads
    eval_batch_size: Count
    threads: Threads | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.processes > 1 and self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device: {self.device} is one device, but processes is {self.processes}; use auto")
        return self


class Tracking(Section):
    """MLflow."""

    experiment: Text
    system_metrics: bool


class Params(Section):
    """All of params.yaml."""

    data: Data
    phantom: Phantom
    model: Model
    backbone: Backbone
    tokenizer_3d: Tokenizer3d
    adapter: Adapter
    train: Train
    ema: Ema
    specialists: tuple[Letter, ...] = Field(min_length=1)
    seeds: tuple[Seed, ...] = Field(min_length=1)
    ablation: Ablation
    segmentation: Segmentation
    report: Report
    compute: Compute
    tracking: Tracking

    @model_validator(mode="after")
    def _check(self) -> Self:
        distinct("seeds", self.seeds)
        distinct("specialists", self.specialists)
        self._check_specialists()
        return self

    def _check_specialists(self) -> None:
        listed, data = ", ".join(self.specialists), self.data
        for name, own in data.own.items():
            if own.specialist not in self.specialists:
                raise ValueError(f"data.own.{name}.specialist: {own.specialist} is not one of specialists: {listed}")
        for name in (*data.datasets, *data.external):
            if data.specialist(name) not in self.specialists:
                raise ValueError(f"specialists: {listed} lack {data.specialist(name)}, which {name} is routed to")
        for letter in self.specialists:
            if letter not in self.adapter.letters:
                key = f"adapter.bottleneck_{letter.lower()}"
                raise ValueError(f"{key}: missing, the width of specialist {letter}; -S '+{key}=64' adds it")
        for letter in self.adapter.letters:
            if letter not in (*self.specialists, *"ABC"):
                raise ValueError(f"adapter.bottleneck_{letter.lower()}: {letter} is not one of specialists: {listed}")

    def clash(self) -> str | None:
        """Say in one line, which starts with the key, what cannot run together, if anything."""
        for section in ("model", "train"):
            if line := getattr(self, section).clash():
                return f"{section}.{line}"
        adapter, train = self.adapter, self.train
        hard = train.num_rounds - adapter.gate_rounds
        if adapter.routing == "gated" and adapter.kind != "none" and hard < max(1, train.warmup_rounds):
            return (
                f"adapter.gate_rounds: {adapter.gate_rounds} must leave at least one of train.num_rounds "
                f"{train.num_rounds} without a gate, and as many as train.warmup_rounds {train.warmup_rounds:g}"
            )
        if self.tokenizer_3d.kind == "slices":
            slices = self.tokenizer_3d.slices
            sizes: dict[str, int | None] = {"data.size_3d": self.data.size_3d}
            used = (*self.data.datasets, *self.data.external)
            own = {name: own for name, own in self.data.own.items() if own.dimension == 3 and name in used}
            sizes |= {f"data.own.{name}.size": volumes.size for name, volumes in own.items()}
            for key, size in sizes.items():
                if size and slices > size:
                    return f"tokenizer_3d.slices: {slices} must be at most {key} {size}"
        if train.deploy == "dataset" and not self.apart:
            return (
                "train.deploy: dataset needs datasets that share nothing trained: adapter.routing: per_dataset and "
                f"backbone.frozen: true, not {adapter.routing} and {str(self.backbone.frozen).lower()}"
            )
        return None

    @property
    def apart(self) -> bool:
        """Whether no dataset trains what another one uses."""
        return self.adapter.routing == "per_dataset" and self.backbone.frozen

    def variant(self, name: str, where: str = str(PARAMS_FILE), values: Mapping[str, Any] | None = None) -> "Params":
        """Return what variant `name` runs with: `overridden`, whose arguments and errors these are too.

        Raises PipelineError also for values that cannot run together.
        """
        variant = self.overridden(name, where, values)
        line = variant.clash()
        if line is None:
            return variant
        if line == self.clash():
            raise PipelineError(f"{where}: {line}")  # in all variants
        if values is not None:
            raise PipelineError(f"{where}: ablation.tune.grid: {name}: {line}")
        way_out = f"; or leave {name} out of ablation.run" if name in self.ablation.run[1:] else ""
        raise PipelineError(f"{where}: ablation.variants.{name}: {line}{way_out}")

    def overridden(self, name: str, where: str = str(PARAMS_FILE), values: Mapping[str, Any] | None = None) -> "Params":
        """Return the parameters with the overrides of variant `name` applied; `where` is what errors call the file.

        `values`, of the grid by dotted key, win over the overrides. Each value is legal; not all may run together.
        Raises PipelineError for an unknown variant, an override of a key that does not exist or may not differ
        between variants, and a value out of range.
        """
        here = f"{where}: ablation.variants.{name}"
        if name not in self.ablation.variants:
            known = ", ".join(self.ablation.variants)
            raise PipelineError(f"{here}: no such variant; the variants are {known}")
        if values is not None:
            here = f"{where}: ablation.tune.grid: {name}"
        tree = self.model_dump()
        for key, value in (self.ablation.overrides(name) | dict(values or {})).items():
            if not key.startswith(VARIANT_GROUPS):
                allowed = ", ".join(group.rstrip(".") for group in VARIANT_GROUPS)
                raise PipelineError(f"{here}: {key}: variants may differ in {allowed} only (dotted keys)")
            if key in SHARED_KEYS:
                raise PipelineError(f"{here}: {key}: may not differ, all variants share weights/backbone.safetensors")
            group, _, leaf = key.partition(".")
            tree[group][leaf] = value
        return _validate(tree, here)

    def segmentation_variant(self, name: str, where: str = str(PARAMS_FILE)) -> Segmentation:
        """Return the section `segmentation` as one of its variants runs with it.

        Raises PipelineError as `segmentation_overridden` does, and for values that cannot run together.
        """
        changed = self.segmentation_overridden(name, where)
        if line := changed.clash():
            own = f"segmentation.ablation.variants.{name}: {line}"
            raise PipelineError(f"{where}: {f'segmentation.{line}' if line == self.segmentation.clash() else own}")
        return changed

    def segmentation_overridden(self, name: str, where: str = str(PARAMS_FILE)) -> Segmentation:
        """Return the section with a variant's overrides applied; each value is legal, not all may run together.

        Raises PipelineError for an unknown variant, and an override of a key that does not exist or may not differ.
        """
        section, here = self.segmentation, f"{where}: segmentation.ablation.variants.{name}"
        if name not in section.ablation.variants:
            raise PipelineError(f"{here}: no such variant; the variants are {', '.join(section.ablation.variants)}")
        tree = self.model_dump()
        for key, value in section.ablation.overrides(name).items():
            if not key.startswith(segmentation.VARIANT_GROUPS):
                allowed = ", ".join(group.rstrip(".") for group in segmentation.VARIANT_GROUPS)
                raise PipelineError(f"{here}: {key}: variants may differ in {allowed} only (dotted keys)")
            if stage := segmentation.shared_stage(key, weights=section.model.weights is not None):
                raise PipelineError(f"{here}: {key}: may not differ, all variants share the stage {stage}")
            *groups, leaf = key.split(".")
            group = tree["segmentation"]
            for step in groups:
                group = group.setdefault(step, {})
            group[leaf] = value
        return _validate(tree, here).segmentation

    def check_known(self, variant: str, seed: int | None = None, specialist: str | None = None) -> None:
        """Raise PipelineError if there is no such variant, or seed or specialist are none of those listed."""
        self.variant(variant)
        if seed is not None:
            self.check_seed(seed)
        if specialist is not None and specialist not in self.specialists:
            raise PipelineError(
                f"{PARAMS_FILE}: specialists: {specialist} is not among {', '.join(self.specialists)}; add it there"
            )

    def check_seed(self, seed: int) -> None:
        """Raise PipelineError if this is none of the seeds."""
        if seed not in self.seeds:
            raise PipelineError(
                f"{PARAMS_FILE}: seeds: {seed} is not among {', '.join(map(str, self.seeds))}; add it to train with it"
            )

    def check_listed(self, key: Literal["external", "corruptions"], name: str) -> None:
        """Raise PipelineError if a list of `data` does not have this name."""
        listed = getattr(self.data, key)
        if name not in listed:
            raise PipelineError(
                f"{PARAMS_FILE}: data.{key}: {name} is not among {', '.join(listed) or 'none'}; add it there"
            )

    def combinations(self, name: str) -> list[dict[str, Any]]:
        """Return what tuning tries for a variant: values by dotted key, its own override of a key before the grid's."""
        own, overrides = self.overridden(name), self.ablation.overrides(name)
        tried = dict(self.ablation.tune.grid)
        for key, values in tried.items():
            if key in overrides:
                group, _, leaf = key.partition(".")
                tried[key] = tuple(dict.fromkeys((getattr(getattr(own, group), leaf), *values)))
        return [dict(zip(tried, values, strict=True)) for values in product(*tried.values())]


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check a params file: the form of all of it, and that what `ablation.run` lists can run.

    Raises PipelineError (one line: file, key, value, what is legal) for anything that is not legal.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file; run this from the repository root") from None
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path}: not UTF-8: {error}") from None
    return parse_params(text, str(path))


def parse_params(text: str, where: str) -> Params:
    """Check the text of a params file, as `load_params` does; `where` is what errors call it.

    Raises PipelineError as `load_params` does.
    """
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise PipelineError(f"{where}: not valid YAML: {reason}") from None
    except RecursionError:
        raise PipelineError(f"{where}: not valid YAML: it nests deeper than any params file") from None
    if not isinstance(tree, dict):
        raise PipelineError(f"{where}: expected a mapping of parameters, found {type(tree).__name__}")
    params = _validate(tree, where)
    run, tuned = params.ablation.run, params.ablation.tune.variants
    for name in params.ablation.variants:
        (params.variant if name in run else params.overridden)(name, where)
    for name in params.segmentation.ablation.variants:
        runs = name in params.segmentation.ablation.run
        (params.segmentation_variant if runs else params.segmentation_overridden)(name, where)
    # A grid that nobody asks for is checked for form too, with the main variant.
    for name in tuned or run[:1]:
        check = params.variant if name in run and name in tuned else params.overridden
        for values in params.combinations(name):
            check(name, where, values)
    return params


def _validate(tree: dict[str, Any], where: str) -> Params:
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise PipelineError(f"{where}: {_describe(error)}") from None


def _describe(error: ValidationError) -> str:
    """Put the first problem of a validation error into one line; an unknown key goes first, being the likely cause."""
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    # A list whose only item is bad is also called too short, after it.
    problems = [problem for problem in problems if problem["type"] != "too_short"] or problems
    problem = problems[0]
    location = [str(part) for part in problem["loc"] if part != "[key]"]
    key = ".".join(location)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key{_suggestion(location[-1], _known_keys(location[:-1]))}{more}"
    if problem["type"] == "missing":
        return f"{key}: missing{more}"
    message = re.sub("^(Input|String|Tuple|Value error,) | or instance of .*", "", problem["msg"])
    message = message.replace("valid tuple", "list").replace("valid dictionary", "mapping")
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):
        # A rule over several keys: the message names its key itself.
        return f"{key + '.' if key else ''}{message}{more}"
    return f"{key} = {problem['input']!r}: {message}{more}"


def _known_keys(location: list[str]) -> list[str]:
    section: Any = Params
    for part in location:
        # A mapping of sections by name, such as data.own, has its section as the type of its values.
        fields = getattr(section, "model_fields", None)
        section = fields[part].annotation if fields else get_args(section)[1]
    return list(section.model_fields)


def _unknown_dataset(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean {close[0]}?" if close else "data.own declares one of your own"
    return f"neither one of MedMNIST's datasets nor in data.own; {hint}"


def _suggestion(key: str, known: Any) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; known keys are {', '.join(known)}"
