"""The section `segmentation` of params.yaml: every knob of M4oE with its legal range.

Seeds, compute and tracking are those of the whole file.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

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
    VariantName,
    WholeNumber,
    distinct,
    written_as,
)
from mosaic_pipeline.segmentation.config import misfit
from mosaic_pipeline.segmentation.custom import Custom
from mosaic_pipeline.segmentation.datasets import NAMED, PHANTOM_SETS
from mosaic_pipeline.variants import Variants

# The groups that a variant may override, below `segmentation.`; data and evaluation are common to all.
VARIANT_GROUPS = ("model.", "experts.", "train.")

# Hidden width of a Swin Transformer's MLPs, as a multiple of its channels.
SWIN_WIDTH = 4

Share = Annotated[Number, Field(gt=0, lt=1)]


class Split(Section):
    """Shares of the patients that test and validate, and the seed of the draw; or a file that says which case does."""

    test: Share
    val: Share
    seed: Seed
    file: Text | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.test + self.val >= 1:
            raise ValueError(f"test: {self.test:g} and val {self.val:g} leave nothing to train on")
        return self


class Data(Section):
    """Where scans come from, which sets are used, and which slices train."""

    source: Literal["phantom", "folder"]
    root: Text | None
    datasets: tuple[str, ...]
    folders: dict[VariantName, Text]
    custom: dict[VariantName, Custom]
    split: Split
    slices: Literal["foreground", "all"]
    empty_share: Fraction
    case_limit: Count | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        distinct("datasets", self.datasets)
        if taken := [name for name in self.custom if name in NAMED]:
            raise ValueError(f"custom: {taken[0]} is a set that is known by name; one of your own needs another")
        known = PHANTOM_SETS if self.source == "phantom" else (*NAMED, *self.custom)
        if unknown := [name for name in self.datasets if name not in known]:
            hint = "; there are phantoms of these alone" if self.source == "phantom" else ", nor in data.custom"
            raise ValueError(f"datasets: {unknown[0]} is none of {', '.join(known)}{hint}")
        if self.source == "folder" and not self.root:
            raise ValueError("root: source is folder, so this must be the folder that holds one for each dataset")
        return self


class Phantom(Section):
    """Phantoms made of each set, by split, and the voxels a side of their slices."""

    train: Count
    val: Count
    test: Count
    size: Annotated[Count, Field(ge=16, le=512)]


class Intensity(Section):
    """What becomes -1 and 1: a window in HU for CT, percentiles of the volume for all else."""

    ct_window: tuple[Number, Number]
    percentiles: tuple[Annotated[Number, Field(ge=0, le=100)], Annotated[Number, Field(ge=0, le=100)]]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key in ("ct_window", "percentiles"):
            low, high = getattr(self, key)
            if low >= high:
                raise ValueError(f"{key}: {low:g} is not below {high:g}")
        return self


class Model(Section):
    """The trunk: a SwinUNet on slices of `size` pixels a side."""

    dim: Count
    depths: tuple[Count, ...] = Field(min_length=2)
    heads: tuple[Count, ...]
    window: Count
    patch: Count
    size: Count
    channels: Literal[1, 3]
    drop_path: Fraction
    weights: Text | None
    weights_sha256: Annotated[str, written_as("[0-9a-f]{64}", "64 hex digits, a to f in lower case")] | None

    def clash(self) -> str | None:
        """Say in one line what cannot be built, if anything."""
        return misfit(self.dim, self.depths, self.heads, self.patch, self.size)


class Experts(Section):
    """Who shares an expert, where experts are, and what mixes them."""

    routing: Literal["modality", "dataset", "shared", "random", "single"]
    where: Literal["both", "encoder", "decoder"]
    mix: Literal["hard", "gated"]
    gate: Literal["tokens", "image", "released"]
    gate_start: Literal["uniform", "own"]
    gate_trains: Literal["all", "gates_heads_norms"]
    head: Literal["dataset", "union"]
    width: Count
    added: WholeNumber


class Augment(Section):
    """Largest rotation in degrees, largest changes of scale and intensity, and whether images are mirrored."""

    rotate: Annotated[NonNegative, Field(le=180)]
    scale: Fraction
    intensity: Fraction
    flip: bool


class Train(Section):
    """The recipe: masked modelling, hard experts, then the gate, so many rounds of each."""

    pretrain_rounds: WholeNumber
    mask_ratio: Share
    expert_rounds: WholeNumber
    gate_rounds: WholeNumber
    batch_size: Count
    order: Literal["registry", "interleaved", "balanced"]
    tau: Annotated[Number, Field(ge=0, le=1)]
    optimiser: Literal["adamw", "sgd"]
    lr: Positive
    schedule: Literal["cosine", "poly"]
    warmup_rounds: NonNegative
    ce: NonNegative
    dice: NonNegative
    dice_form: Literal["foreground", "released"]
    class_weight: Annotated[NonNegative, Field(le=1)]
    augment: Augment
    grad_clip: Positive
    weight_decay: NonNegative
    early_stopping_patience: Count
    min_delta: NonNegative

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.ce == self.dice == 0:
            raise ValueError("ce: 0, and so is dice: nothing would be learned")
        return self


class Evaluate(Section):
    """How test scans are segmented and measured."""

    nsd_mm: Positive
    write: Literal["main", "all", "none"]
    largest_component: bool
    slice_batch: Count


def shared_stage(key: str, *, weights: bool) -> str | None:
    """Return the stage that reads a key below `segmentation.` once for all variants, which may not differ in it then.

    With given `weights` that is the shape that they are mapped to: all of the model but `drop_path`, which has none.
    """
    if key == "model.size":
        return "seg_cache"
    shape = weights and key.startswith("model.") and key != "model.drop_path"
    return "seg_weights" if shape or key.startswith("model.weights") else None


class Ablation(Variants):
    """Which variants exist, which of them run (none: no segmentation), and which are analysed."""

    SECTION = "segmentation.ablation"


class Segmentation(Section):
    """All of the section."""

    data: Data
    phantom: Phantom
    intensity: Intensity
    model: Model
    experts: Experts
    train: Train
    evaluate: Evaluate
    ablation: Ablation

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.ablation.run and not self.data.datasets:
            raise ValueError("data.datasets: none, but segmentation.ablation.run is not empty")
        return self

    def clash(self) -> str | None:
        """Say in one line, which starts with the key below `segmentation.`, what cannot run together, if anything."""
        if line := self.model.clash():
            return f"model.{line}"
        train, experts = self.train, self.experts
        if self.model.weights and experts.width != SWIN_WIDTH:
            return (
                f"experts.width: {experts.width}, but model.weights has MLPs {SWIN_WIDTH} times as wide as their input"
            )
        gated = experts.mix == "gated" and experts.routing not in ("shared", "single")
        if experts.added and (problem := self._keeps_from_adding(gated)):
            return f"experts.added: {experts.added}, but {problem}"
        if train.expert_rounds + (train.gate_rounds if gated else 0) == 0:
            return "train.expert_rounds: 0, and no round with a gate: nothing would be segmented"
        hard = train.expert_rounds + (0 if gated else train.gate_rounds)
        warmed = [rounds for rounds in (train.pretrain_rounds, hard) if rounds]
        if train.schedule == "cosine" and warmed and train.warmup_rounds > min(warmed):
            return (
                f"train.warmup_rounds: {train.warmup_rounds:g} must be at most {min(warmed)}, the rounds of the "
                "shortest phase that warms up"
            )
        return None

    def _keeps_from_adding(self, gated: bool) -> str | None:
        """Say why no expert can join those that are trained, if that is so."""
        experts, named = self.experts, self.data.datasets
        if experts.routing not in ("modality", "dataset"):
            return f"experts.routing is {experts.routing}; it takes modality or dataset to know whose an expert is"
        if gated:
            return "experts.mix is gated, and a gate that was trained has no weight for one more; set that to hard"
        if experts.head == "union":
            return "experts.head is union, one head for all, which may not stay as it is; set that to dataset"
        known = NAMED | self.data.custom
        count = len(named if experts.routing == "dataset" else {known[name].modality for name in named})
        if experts.added >= count:
            return f"there {'is 1 expert' if count == 1 else f'are {count} experts'}, and one has to be there before"
        return None

    def check_listed(self, dataset: str) -> None:
        """Raise PipelineError if this is none of the datasets."""
        if dataset not in self.data.datasets:
            raise PipelineError(
                f"params.yaml: segmentation.data.datasets: {dataset} is not among {', '.join(self.data.datasets)}; "
                "add it there"
            )
