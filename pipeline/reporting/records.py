"""The JSON files that the report reads, as typed values; keys that it does not use are ignored."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline.data.findings import Finding


class Record(BaseModel):
    """A part of a JSON file of ours."""

    model_config = ConfigDict(frozen=True)


class Split(Record):
    """Images used of a split, and how many the source file holds."""

    n: int
    of: int


class DataOrigin(Record):
    """Where a dataset's images came from, and what is odd about them."""

    source: str
    official: bool
    size: int
    class_names: list[str]
    raw_md5: str
    splits: dict[str, Split]
    findings: list[Finding] = []

    @property
    def leaks(self) -> bool:
        """Whether test images are training or validation images."""
        return any(finding.split == "test" and finding.kind in ("in_train", "in_val") for finding in self.findings)


class DatasetResult(Record):
    """Test result of one dataset; a metric that is undefined, or not of the dataset's task, is None.

    `confusion` counts actual x predicted classes; for a multi-label dataset it is one [[tn, fp], [fn, tp]] per label.
    `reliability` has a row (n, mean confidence, accuracy) for each bin of confidence; `mae` is in grades. What ends in
    `_scaled` is of the scores at `temperature`.
    """

    n: int
    acc: float | None
    auc: float | None
    loss: float | None
    confusion: list[list[int]] | list[list[list[int]]]
    data: DataOrigin
    balanced_acc: float | None = None
    macro_f1: float | None = None
    ece: float | None = None
    brier: float | None = None
    temperature: float | None = None
    loss_scaled: float | None = None
    ece_scaled: float | None = None
    brier_scaled: float | None = None
    reliability: list[tuple[int, float | None, float | None]] = []
    quadratic_kappa: float | None = None
    mae: float | None = None
    acc_within_one: float | None = None
    map: float | None = None

    @property
    def multi_label(self) -> bool:
        """Whether `confusion` holds one table per label."""
        return isinstance(self.confusion[0][0], list)

    @property
    def class_counts(self) -> list[tuple[int, int]]:
        """Per class or label: test images that are of it, and that are not."""
        if self.multi_label:
            return [(fn + tp, tn + fp) for (tn, fp), (fn, tp) in self.confusion]
        return [(sum(row), self.n - sum(row)) for row in self.confusion]


class Evaluation(Record):
    """Content of evaluation/<variant>/<seed>/<specialist>.json."""

    md5: dict[str, str]
    datasets: dict[str, DatasetResult]


class Parameters(Record):
    """Number of parameters by component."""

    specialists: dict[str, int]
    tokenizer_3d: int
    positions_3d: int
    heads: int
    gates: int = 0
    backbone: int
    trainable: int
    total: int


class Weights(Record):
    """Where the backbone's weights are from: `random`, or the name of the npz; and its sha256."""

    source: str
    sha256: str

    @property
    def random(self) -> bool:
        """Whether the backbone was never trained."""
        return self.source == "random"


class OwnRound(Record):
    """The round that a dataset is deployed from, counted from 1, and which of its two models."""

    round: int
    deployed: str
    score: float


class Training(Record):
    """Content of runs/<variant>/<seed>/train.json; `best_round` counts from 1.

    It is None where each dataset is deployed from a round of its own, one of `best_rounds`.
    """

    deployed: str
    best_round: int | None
    best_rounds: dict[str, OwnRound] = {}
    rounds: int
    stopped: str
    score: float | None
    parameters: Parameters
    weights: Weights
    steps: int
    precision: str

    def deployed_on(self, dataset: str) -> str:
        """Which of the models, student or teacher, the dataset is tested with."""
        return self.best_rounds[dataset].deployed if self.best_rounds else self.deployed


class Trial(Record):
    """Values of a candidate by dotted key, and its best round on the validation splits; None where it diverged."""

    values: dict[str, Any]
    score: float | None
    acc: float | None
    auc: float | None
    best_round: int | None


class Tuning(Record):
    """Content of tuning/<variant>.json: what was tried, and the index of what was chosen; nothing if not tuned."""

    seed: int | None
    chosen: int | None
    candidates: list[Trial]


class Counterfactual(Record):
    """Validation of each dataset under every specialist, in their order; `own` is the routed one.

    `right` [S, N] counts the right labels of each case; the cases are the same in every training.
    """

    specialists: list[str]
    own: Mapping[str, str]
    acc: dict[str, list[float]]
    right: dict[str, list[list[int]]]


class Alignment(Record):
    """Cosine [D, D] between the gradients that datasets give the specialist they share, after a round.

    `halves` [D] is the cosine between the gradients of two halves of a dataset's cases.
    """

    cosine: list[list[float | None]]
    halves: list[float | None]


class Conflicts(Record):
    """How the gradients of datasets that share one specialist lie along a training, on `cases` images of each."""

    specialist: str
    datasets: list[str]
    cases: int
    rounds: list[Alignment]


class ConflictFile(Record):
    """Content of runs/<variant>/<seed>/conflicts.json; None where nothing was measured."""

    conflicts: Conflicts | None


class Similarity(Record):
    """Linear CKA between the specialists' outputs, [layers][S][S]."""

    specialists: list[str]
    layers: list[list[list[float | None]]]


class Gate(Record):
    """Mean gate weights [layers][S] of each dataset, and the entropy [layers] of its gates in nats."""

    specialists: list[str]
    weights: dict[str, list[list[float]]]
    entropy: dict[str, list[float]]


class Analysis(Record):
    """Content of analysis/<variant>/<seed>.json; a part that the variant's routing does not have is None.

    `branch_ratio` is, by dataset and layer, the norm of the specialist's branch over that of the MLP's output.
    """

    seed: int
    cases: int
    counterfactual: Counterfactual | None = None
    similarity: Similarity | None = None
    branch_ratio: dict[str, list[float]] | None = None
    gate: Gate | None = None
