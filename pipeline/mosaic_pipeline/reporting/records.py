"""The JSON files that the report reads, as typed values in their ranges; keys that it does not use are ignored."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import Self

from mosaic_pipeline.data.findings import Finding
from mosaic_pipeline.datasets import SPLITS
from mosaic_pipeline.reporting.record import (
    AnalysisRecord,
    Cosine,
    Count,
    NonNegative,
    Record,
    Share,
    Weights,
    WholeNumber,
    is_even,
)

# A log-likelihood sees no probability below 1e-7, whose logarithm this is.
Loss = Annotated[float, Field(ge=0, le=16.2)]
Brier = Annotated[float, Field(ge=0, le=2)]
Temperature = Annotated[float, Field(gt=0, le=100)]
Deployed = Literal["student", "teacher"]


class Split(Record):
    """Images used of a split, and how many the source file holds."""

    n: Count
    of: Count

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.n > self.of:
            raise ValueError(f"n {self.n} is more than of {self.of}")
        return self


class DataOrigin(Record):
    """What a dataset is, where its images came from, what is odd about them, and how those of one's own were read."""

    form: dict[str, Any]
    title: str
    specialist: str
    licence: str
    source: str
    official: bool
    size: Count
    class_names: list[str]
    raw_md5: str
    splits: dict[str, Split]
    findings: list[Finding] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)

    @property
    def terms(self) -> str:
        """The licence of the images that were used; generated ones are nobody's."""
        return "none, generated" if self.source == "phantom" else self.licence

    @property
    def leaks(self) -> bool:
        """Whether test images are training or validation images."""
        return self._tests("in_train", "in_val")

    @property
    def shares_patients(self) -> bool:
        """Whether test images are of patients of whom training or validation images are."""
        return self._tests("patient_in_train", "patient_in_val")

    def _tests(self, *kinds: str) -> bool:
        return any(finding.split == "test" and finding.kind in kinds for finding in self.findings)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if missing := [split for split in SPLITS if split not in self.splits]:
            raise ValueError(f"nothing on the split {missing[0]}")
        known = range(len(self.class_names))
        if unknown := [index for finding in self.findings for index in finding.classes if index not in known]:
            raise ValueError(f"findings: no class {unknown[0]}")
        return self


class DatasetResult(Record):
    """Test result of one dataset; a metric that is undefined, or not of the dataset's task, is None.

    `confusion` counts actual x predicted classes; for a multi-label dataset it is one [[tn, fp], [fn, tp]] per label.
    `reliability` has a row (n, mean confidence, accuracy) for each bin of confidence; `mae` is in grades. What ends in
    `_scaled` is of the scores at `temperature`.
    """

    n: Count
    acc: Share | None
    auc: Share | None
    loss: Loss | None
    confusion: list[list[WholeNumber]] | list[list[list[WholeNumber]]]
    data: DataOrigin
    balanced_acc: Share | None = None
    macro_f1: Share | None = None
    ece: Share | None = None
    brier: Brier | None = None
    temperature: Temperature | None = None
    loss_scaled: Loss | None = None
    ece_scaled: Share | None = None
    brier_scaled: Brier | None = None
    reliability: list[tuple[WholeNumber, Share | None, Share | None]] = Field(default_factory=list)
    quadratic_kappa: Cosine | None = None
    mae: NonNegative | None = None
    acc_within_one: Share | None = None
    map: Share | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        counts = np.array(self.confusion) if is_even(self.confusion) else np.zeros(0)
        per_label = counts[None] if counts.ndim == 2 else counts
        if counts.ndim not in (2, 3) or per_label.shape[1] != per_label.shape[2]:
            raise ValueError("confusion: no table of actual by predicted classes")
        if (per_label.sum(axis=(1, 2)) != self.n).any():
            raise ValueError(f"confusion: does not add up to n = {self.n}")
        if any(n and None in (confidence, right) for n, confidence, right in self.reliability):
            raise ValueError("reliability: a bin with cases, but without their confidence and accuracy")
        return self

    def reduced(self, main: "DatasetResult") -> "DatasetResult":
        """Return what is shown of another variant than the main one; what data they are of stands there once."""
        data = main.data if main.data == self.data else self.data
        return self.model_copy(update={"confusion": [], "reliability": [], "data": data})

    @property
    def multi_label(self) -> bool:
        """Whether `confusion` holds one table per label."""
        return isinstance(self.confusion[0][0], list)

    @property
    def class_counts(self) -> list[tuple[int, int]]:
        """Per class or label: test images that are of it, and that are not."""
        if self.multi_label:
            return [(fn + tp, tn + fp) for (tn, fp), (fn, tp) in self.by_label]
        return [(sum(row), self.n - sum(row)) for row in self.by_class]

    @property
    def by_label(self) -> list[list[list[int]]]:
        """`confusion` of a multi-label dataset."""
        return cast("list[list[list[int]]]", self.confusion)

    @property
    def by_class(self) -> list[list[int]]:
        """`confusion` of any other dataset."""
        return cast("list[list[int]]", self.confusion)


class Evaluation(Record):
    """Content of evaluation/<variant>/<seed>/<specialist>.json."""

    variant: str
    seed: int
    specialist: str
    md5: dict[str, str]
    datasets: dict[str, DatasetResult]


class Parameters(Record):
    """Number of parameters by component."""

    specialists: dict[str, WholeNumber]
    tokenizer_3d: WholeNumber
    positions_3d: WholeNumber
    heads: WholeNumber
    gates: WholeNumber = 0
    backbone: WholeNumber
    trainable: WholeNumber
    total: Count


class OwnRound(Record):
    """The round that a dataset is deployed from, counted from 1, and which of its two models."""

    round: Count
    deployed: Deployed
    score: Share


class Training(Record):
    """Content of runs/<variant>/<seed>/train.json; `best_round` counts from 1.

    It is None where each dataset is deployed from a round of its own, one of `best_rounds`.
    """

    variant: str
    seed: int
    deployed: Literal[Deployed, "composed"]
    best_round: Count | None
    best_rounds: dict[str, OwnRound] = Field(default_factory=dict)
    rounds: Count
    stopped: Literal["early", "complete"]
    score: Share | None
    parameters: Parameters
    weights: Weights
    steps: Count
    precision: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.best_round is None) != bool(self.best_rounds):
            raise ValueError("best_round: one for all datasets, or null and best_rounds for each")
        if (self.deployed == "composed") != bool(self.best_rounds):
            raise ValueError(f"deployed: {self.deployed} does not go with best_rounds")
        if max([self.best_round or 0, *(own.round for own in self.best_rounds.values())]) > self.rounds:
            raise ValueError(f"best_round: later than the last round, {self.rounds}")
        return self

    def deployed_on(self, dataset: str) -> str:
        """Which of the models, student or teacher, the dataset is tested with."""
        return self.best_rounds[dataset].deployed if self.best_rounds else self.deployed


class Trial(Record):
    """Values of a candidate by dotted key, and its best round on the validation splits; None where it diverged."""

    values: dict[str, Any]
    score: Share | None
    acc: Share | None
    auc: Share | None
    best_round: Count | None


class Tuning(Record):
    """Content of tuning/<variant>.json: what was tried, and the index of what was chosen; nothing if not tuned."""

    variant: str
    seed: int | None
    chosen: WholeNumber | None
    candidates: list[Trial]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.candidates) != (self.chosen is not None):
            raise ValueError("chosen: goes with candidates to choose from")
        if self.chosen is not None and (
            self.chosen >= len(self.candidates) or self.candidates[self.chosen].score is None
        ):
            raise ValueError(f"chosen: {self.chosen} is no candidate that has a score")
        return self


class Counterfactual(Record):
    """Validation of each dataset under every specialist, in their order; `own` is the routed one.

    `right` [S, N] counts the right labels of each case; the cases are the same in every training.
    """

    specialists: list[str]
    own: Mapping[str, str]
    acc: dict[str, list[Share]]
    right: dict[str, list[list[WholeNumber]]]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.own.keys() == self.acc.keys() == self.right.keys() or not set(self.own.values()) <= set(
            self.specialists
        ):
            raise ValueError("own, acc and right: not of the same datasets, or of other specialists")
        for name, right in self.right.items():
            if not is_even(right) or not len(right) == len(self.acc[name]) == len(self.specialists) or not right[0]:
                raise ValueError(f"right.{name}: not the same cases for each of {len(self.specialists)} specialists")
        return self


class Alignment(Record):
    """Cosine [D, D] between the gradients that datasets give the specialist they share, after a round.

    `halves` [D] is the cosine between the gradients of two halves of a dataset's cases.
    """

    cosine: list[list[Cosine | None]]
    halves: list[Cosine | None]


class Conflicts(Record):
    """How the gradients of datasets that share one specialist lie along a training, on `cases` images of each."""

    specialist: str
    datasets: list[str]
    cases: Count
    rounds: list[Alignment] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        size = len(self.datasets)
        for number, found in enumerate(self.rounds, 1):
            if [len(found.halves), len(found.cosine), *map(len, found.cosine)] != [size] * (2 + size):
                raise ValueError(f"round {number}: not the cosines of {size} datasets")
        return self


class ConflictFile(Record):
    """Content of runs/<variant>/<seed>/conflicts.json; None where nothing was measured."""

    variant: str
    seed: int
    conflicts: Conflicts | None


class Similarity(Record):
    """Linear CKA between the specialists' outputs, [layers][S][S]."""

    specialists: list[str]
    layers: list[list[list[Cosine | None]]] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        size = len(self.specialists)
        if any([len(layer), *map(len, layer)] != [size] * (1 + size) for layer in self.layers):
            raise ValueError(f"layers: not a table of {size} by {size} specialists each")
        return self


class Gate(Record):
    """Mean gate weights [layers][S] of each dataset, and the entropy [layers] of its gates in nats."""

    specialists: list[str]
    weights: dict[str, list[list[Share]]]
    entropy: dict[str, list[NonNegative]]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.weights.keys() != self.entropy.keys():
            raise ValueError("weights and entropy: not of the same datasets")
        for name, layers in self.weights.items():
            if not layers or len(layers) != len(self.entropy[name]):
                raise ValueError(f"weights.{name}: not as many layers as of entropy")
            if any(len(layer) != len(self.specialists) for layer in layers):
                raise ValueError(f"weights.{name}: not of {len(self.specialists)} specialists in each layer")
        return self


class Analysis(AnalysisRecord):
    """Content of analysis/<variant>/<seed>.json; a part that the variant's routing does not have is None.

    `branch_ratio` is, by dataset and layer, the norm of the specialist's branch over that of the MLP's output.
    """

    variant: str
    seed: int
    cases: Count
    counterfactual: Counterfactual | None = None
    similarity: Similarity | None = None
    branch_ratio: dict[str, Annotated[list[NonNegative], Field(min_length=1)]] | None = None
    gate: Gate | None = None

    @property
    def datasets(self) -> set[str]:
        """Names of the datasets that any part speaks of."""
        parts = (self.counterfactual and self.counterfactual.right, self.branch_ratio, self.gate and self.gate.weights)
        return {name for part in parts for name in part or ()}
