"""The JSON files that the report of segmentation reads, as typed values; keys that it does not use are ignored."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from mosaic_pipeline.reporting.record import (
    AnalysisRecord,
    Cosine,
    Count,
    NonNegative,
    Record,
    Share,
    Weights,
    WholeNumber,
)
from mosaic_pipeline.segmentation.config import Config, parse_config
from mosaic_pipeline.segmentation.evaluation.metrics import METRICS

Positive = Annotated[float, Field(gt=0)]
Triple = tuple[Count, Count, Count]
Kind = Literal["best", "median", "worst", "hardest"]
# An entropy is in units of ln E; rounding may carry one beyond 1.
Entropy = Annotated[float, Field(ge=-0.001, le=1.001)]


class OrganResult(Record):
    """One organ of one case; metrics are None where there is none and none was found, and else never."""

    organ: str
    status: Literal["hit", "missed", "invented", "absent"]
    dsc: Share | None
    nsd: Share | None
    hd95: NonNegative | None
    nsd_mm: Positive
    volume_ref_ml: NonNegative
    volume_pred_ml: NonNegative
    volume_error_ml: float
    volume_error_percent: float | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        values = [getattr(self, metric) for metric in METRICS]
        if (self.status == "absent") != (None in values) or (self.status == "absent" and values != [None] * 3):
            raise ValueError(f"{self.organ}: {self.status}, which does not go with its metrics")
        if self.status in ("missed", "invented") and self.dsc:
            raise ValueError(f"{self.organ}: {self.status} with a DSC of {self.dsc}")
        if (self.status in ("hit", "missed")) != (self.volume_ref_ml > 0):
            raise ValueError(f"{self.organ}: {self.status} with {self.volume_ref_ml} ml of it in the reference")
        return self


class CaseResult(Record):
    """One test scan; `ceiling` is the DSC that the reference's exact shares of every pixel come back with.

    With a `block`, first slice and end, only these slices of the scan test: others of it were trained on.
    """

    case: str
    patient: str
    shape: Triple
    spacing: tuple[Positive, Positive, Positive]
    block: tuple[WholeNumber, Count] | None = None
    ceiling: dict[str, Share | None] = Field(default_factory=dict)
    organs: list[OrganResult] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.block and not self.block[0] < self.block[1] <= self.shape[2]:
            raise ValueError(f"case {self.case}: block {list(self.block)} is none of {self.shape[2]} slices")
        return self


class OverlayAt(Record):
    """Which slices are kept as pictures, of which case, and why."""

    kind: Kind
    case: str
    organ: str | None = None
    slices: list[WholeNumber] = Field(min_length=1)
    dsc: Share | None


class TrainingPart(Record):
    """What a set was trained on."""

    cases: Count
    slices: Count


class DatasetResult(Record):
    """Test result of one set, and what the set is; `size` are the pixels a side of the network's grid."""

    title: str
    modality: str
    organs: list[str] = Field(min_length=1)
    licence: str
    citation: str
    source: Literal["phantom", "folder"]  # what is generated must never be taken for scans
    size: Count
    nsd_mm: dict[str, Positive]
    cases: list[CaseResult] = Field(min_length=1)
    train: TrainingPart
    findings: list[str] = Field(default_factory=list)
    overlays: list[OverlayAt] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [case.case for case in self.cases]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"case {twice[0]} is there twice")
        for case in self.cases:
            if [each.organ for each in case.organs] != self.organs:
                raise ValueError(f"case {case.case}: not of the set's organs, in their order")
        shapes = {case.case: case.shape for case in self.cases}
        for overlay in self.overlays:
            if overlay.case not in shapes or max(overlay.slices) >= shapes[overlay.case][2]:
                raise ValueError(f"overlays: no slice {max(overlay.slices)} of a case {overlay.case}")
        if twice := [each.kind for each in self.overlays if [o.kind for o in self.overlays].count(each.kind) > 1]:
            raise ValueError(f"overlays: two of kind {twice[0]}")
        return self

    @property
    def patients(self) -> int:
        """Patients of whom the test scans are."""
        return len({case.patient for case in self.cases})

    @property
    def by_slices(self) -> bool:
        """Whether slices test of scans of which others were trained on."""
        return any(case.block for case in self.cases)


class Evaluation(Record):
    """Content of segmentation/results/<variant>/<seed>/evaluation.json."""

    variant: str
    seed: int
    md5: dict[str, str]
    datasets: dict[str, DatasetResult]


class Parameters(Record):
    """Number of parameters by component, and what a slice takes: of those that compute, and of multiplications.

    It is with one expert and with all that a gate mixes, each where some round trains so; the last is deployed.
    """

    trunk: WholeNumber
    experts: dict[str, WholeNumber]
    gates: WholeNumber
    heads: WholeNumber
    reconstruction: WholeNumber = 0
    trainable: WholeNumber
    total: Count
    active: dict[Literal["experts", "gate"], Count] = Field(min_length=1)
    macs: dict[Literal["experts", "gate"], Count] = Field(min_length=1)


class Training(Record):
    """Content of segmentation/results/<variant>/<seed>/train.json.

    `phases` are the rounds done before each began; `config` is what was trained, experts dealt out by seed included.
    """

    variant: str
    seed: int
    best_round: Count
    rounds: Count
    phases: dict[str, WholeNumber] = Field(min_length=1)
    stopped: Literal["early", "complete"]
    score: Share
    steps: Count
    config: Annotated[Config, BeforeValidator(parse_config)]
    parameters: Parameters
    precision: str
    weights: Weights
    md5: dict[str, str]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if max(self.best_round, *self.phases.values()) > self.rounds:
            raise ValueError(f"best_round, phases: later than the last round, {self.rounds}")
        return self


class Counterfactual(Record):
    """Mean DSC [datasets][experts] of validation slices of each set, sent through each expert."""

    datasets: list[str] = Field(min_length=1)
    experts: list[str] = Field(min_length=1)
    dsc: list[list[Share | None]]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if [len(row) for row in self.dsc] != [len(self.experts)] * len(self.datasets):
            raise ValueError(f"dsc: not a table of {len(self.datasets)} datasets by {len(self.experts)} experts")
        return self


class GateOf(Record):
    """Mean weights [layers][experts] that a set's tokens give, and their entropy [layers], as a share of ln E."""

    weights: list[list[Share]]
    entropy: list[Entropy]


class Gates(Record):
    """What the gates choose, layer by layer, encoder first."""

    experts: list[str] = Field(min_length=2)
    layers: list[str] = Field(min_length=1)
    datasets: dict[str, GateOf]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, each in self.datasets.items():
            wide = [len(layer) for layer in each.weights] == [len(self.experts)] * len(self.layers)
            if not wide or len(each.entropy) != len(self.layers):
                raise ValueError(
                    f"datasets.{name}: not {len(self.experts)} experts in each of {len(self.layers)} layers"
                )
        return self


class GateMap(Record):
    """Weights [E][h][w] over one slice in one layer, beside the slice [S][S] from 0 to 255; axes are RAS x and y."""

    dataset: str
    layer: str
    experts: list[str] = Field(min_length=2)
    weights: list[list[list[Share]]]
    image: list[list[Annotated[int, Field(ge=0, le=255)]]] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        widths = {len(row) for row in self.image} | {0}
        if len(widths) != 2 or len(self.weights) != len(self.experts):
            raise ValueError(f"map of {self.dataset}: no square slice, or not a map for each expert")
        if len({tuple(map(len, each)) for each in self.weights}) != 1 or not self.weights[0]:
            raise ValueError(f"map of {self.dataset}: maps of several shapes")
        return self


class Similarity(Record):
    """Linear CKA [layers][E][E] between the outputs of experts."""

    experts: list[str] = Field(min_length=1)
    layers: list[str] = Field(min_length=1)
    cka: list[list[list[Cosine | None]]]

    @model_validator(mode="after")
    def _check(self) -> Self:
        size = len(self.experts)
        if len(self.cka) != len(self.layers) or any([len(t), *map(len, t)] != [size] * (1 + size) for t in self.cka):
            raise ValueError(f"cka: not a table of {size} by {size} experts for each of {len(self.layers)} layers")
        return self


class Conflicts(Record):
    """Cosine [D][D] between the gradients of sets in what they share."""

    datasets: list[str] = Field(min_length=1)
    cosine: list[list[Cosine | None]]

    @model_validator(mode="after")
    def _check(self) -> Self:
        size = len(self.datasets)
        if [len(self.cosine), *map(len, self.cosine)] != [size] * (1 + size):
            raise ValueError(f"cosine: not a table of {size} by {size} datasets")
        return self


class Analysis(AnalysisRecord):
    """Content of segmentation/results/<variant>/<seed>/analysis.json; a part that the variant does not have is None."""

    variant: str
    seed: int
    cases: Count
    counterfactual: Counterfactual | None = None
    gates: Gates | None = None
    maps: list[GateMap] | None = None
    similarity: Similarity | None = None
    conflicts: Conflicts | None = None

    @property
    def datasets(self) -> set[str]:
        """Names of the sets that any part speaks of."""
        parts: list[Any] = [self.counterfactual and self.counterfactual.datasets, self.gates and self.gates.datasets]
        parts += [self.conflicts and self.conflicts.datasets, [each.dataset for each in self.maps or ()]]
        return {name for part in parts for name in part or ()}
