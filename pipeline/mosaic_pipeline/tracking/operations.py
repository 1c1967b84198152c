"""What a run hands over, as data: each operation can be written down, and done later, by another process, once.

Doing one again changes nothing, because nobody knows whether a request without an answer was done.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, get_args, get_origin, get_type_hints

from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.digest import MODEL_TAG
from mosaic_pipeline.tracking.notes import EXPERIMENT, LONGEST_NOTE, NOTE, amended
from mosaic_pipeline.tracking.store import missing
from mosaic_pipeline.tracking.trainings import tell_trainings

if TYPE_CHECKING:
    import mlflow.entities

    from mosaic_pipeline.tracking.store import Store

BULK = 1000  # points in one call; more are refused by MLflow
ERROR_TAG = "error"
SESSION_TAG = "session"  # by which a run is found whose creation was not answered
SYSTEM = "system/"
Record = TypeVar("Record")


@dataclass
class Target:
    """The run in the store, as what is sent to it needs to know it.

    `session` is the id by which the process that began the journal knows it, `ids` a folder with what became of such
    ids, `kept` that of the journal's artifacts.
    """

    store: "Store"
    session: str
    ids: Path
    kept: Path
    name: str
    repeated: bool = False  # whether the run may have been created by a request that nobody saw answered
    run_id: str = ""
    model_id: str | None = None
    system_base: int = 0
    known_params: set[str] = field(default_factory=set)
    # A resumed training gives all rounds again: what is there is not logged twice.
    last_step: dict[str, int] = field(default_factory=dict)
    points: int = 0  # sent
    status: str = "RUNNING"

    def open(self, record: "mlflow.entities.Run") -> None:
        """Take the run that `record` is of."""
        self.run_id = record.info.run_id
        self.known_params = set(record.data.params)
        self.last_step = {metric.key: metric.step for metric in record.to_proto().data.metrics}

    def resolve(self, run_id: str) -> str:
        """Return the id that the store gave to a run of which only ours was known."""
        try:
            return (self.ids / run_id).read_text(encoding="utf-8").strip()
        except OSError:
            return run_id


class Operation(Protocol):
    """A call, or several, as data; `what` says what is lacking if it is not done."""

    what: ClassVar[str]

    def apply(self, to: Target) -> None:
        """Do it."""


@dataclass(frozen=True)
class Begin:
    """Continue a run, or create one, nested under the latest training that logged the parent model.

    The metrics of a nested one are those of the model too. Should the run be gone, a new one begins.
    """

    what: ClassVar[str] = "its start"
    run_id: str | None
    name: str
    milliseconds: int
    tags: Mapping[str, str]
    parent_model_md5: str | None

    def apply(self, to: Target) -> None:
        """Do it."""
        record = self._continued(to) if self.run_id else None
        if record is None:
            to.open(self._created(to))
        else:
            to.open(record)
            steps = [step for key, step in to.last_step.items() if key.startswith(SYSTEM)]
            to.system_base = max(steps, default=-1) + 1

    def _continued(self, to: Target) -> "mlflow.entities.Run | None":
        from mlflow.exceptions import MlflowException

        run_id, client = to.resolve(self.run_id or ""), to.store.client
        try:
            record = client.get_run(run_id)
        except MlflowException as error:
            if not missing(error):
                raise
            record = None
        if record is None or record.info.lifecycle_stage == "deleted":
            print(f"MLflow run {run_id} is gone from {to.store.name}; continuing under a new one", file=sys.stderr)
            return None
        client.update_run(run_id, status="RUNNING")
        if ERROR_TAG in record.data.tags:
            client.delete_tag(run_id, ERROR_TAG)
        return record

    def _created(self, to: Target) -> "mlflow.entities.Run":
        client, experiment_id = to.store.client, to.store.experiment_id
        tags = dict(self.tags) | {SESSION_TAG: to.session}
        if self.parent_model_md5:
            parents = to.store.trainings(self.parent_model_md5)
            is_model = f"tags.`{MODEL_TAG}` = '{self.parent_model_md5}'"
            models = client.search_logged_models([experiment_id], is_model, max_results=1)
            if parents:
                tags["mlflow.parentRunId"] = parents[-1]
            if models:
                to.model_id = models[0].model_id
        if to.repeated:
            found = client.search_runs([experiment_id], f"tags.`{SESSION_TAG}` = '{to.session}'")
            for twin in found[1:]:  # created by each of two requests, of which neither was answered in time
                client.delete_run(twin.info.run_id)
            if found:
                return found[0]
        to.repeated = True
        return client.create_run(experiment_id, start_time=self.milliseconds, tags=tags, run_name=self.name)


@dataclass(frozen=True)
class Remember:
    """Note what became of an id of ours that may stand in a checkpoint."""

    what: ClassVar[str] = "its id"
    handed_out: str

    def apply(self, to: Target) -> None:
        """Do it."""
        if self.handed_out != to.run_id:
            write_text(to.ids / self.handed_out, to.run_id)


@dataclass(frozen=True)
class Params:
    """Parameters, as text; those that the run already has are left alone, as MLflow writes them once."""

    what: ClassVar[str] = "params"
    most: ClassVar[int] = 100  # in one call; more are refused by MLflow
    values: Mapping[str, str]

    def apply(self, to: Target) -> None:
        """Do it."""
        from mlflow.entities import Param

        new = [Param(key, value) for key, value in self.values.items() if key not in to.known_params]
        for start in range(0, len(new), self.most):
            to.store.client.log_batch(to.run_id, params=new[start : start + self.most], synchronous=True)
        to.known_params |= set(self.values)


@dataclass(frozen=True)
class Tags:
    """Tags; an earlier value is replaced."""

    what: ClassVar[str] = "tags"
    values: Mapping[str, str]

    def apply(self, to: Target) -> None:
        """Do it."""
        from mlflow.entities import RunTag

        tags = [RunTag(key, value) for key, value in self.values.items()]
        to.store.client.log_batch(to.run_id, tags=tags, synchronous=True)


@dataclass(frozen=True)
class Points:
    """Values of metrics: key, value, milliseconds, step, dataset and its digest.

    Of a curve that the run has already those up to its last step are left out. A `step` of None is no curve. MLflow
    leaves out what it has with the same time and value. Steps of samples of the system go on from the last one.
    """

    what: ClassVar[str] = "metrics"
    points: list[list[Any]]

    def apply(self, to: Target) -> None:
        """Do it."""
        from mlflow.entities import Metric

        metrics = []
        for key, value, milliseconds, step, dataset, digest in self.points:
            if step is not None and key.startswith(SYSTEM):
                step += to.system_base
            if step is None or step > to.last_step.get(key, -1):
                metrics.append(Metric(key, value, milliseconds, step or 0, to.model_id, dataset, digest))
        for start in range(0, len(metrics), BULK):
            batch = metrics[start : start + BULK]
            to.store.client.log_batch(to.run_id, metrics=batch, synchronous=True)
        to.points += len(metrics)


@dataclass(frozen=True)
class Description:
    """A line of the run's description, in place of an earlier one of this label; other lines stay."""

    what: ClassVar[str] = "its description"
    label: str
    text: str

    def apply(self, to: Target) -> None:
        """Do it."""
        client = to.store.client
        note = client.get_run(to.run_id).data.tags.get(NOTE, "")
        client.set_tag(to.run_id, NOTE, amended(note, self.label, self.text)[:LONGEST_NOTE])


@dataclass(frozen=True)
class ExperimentLink:
    """A line with a link to an artifact of this run in the experiment's description, which begins with ours if none."""

    what: ClassVar[str] = "the experiment's description"
    label: str
    artifact: str

    def apply(self, to: Target) -> None:
        """Do it."""
        client, experiment_id = to.store.client, to.store.experiment_id
        note = client.get_experiment(experiment_id).tags.get(NOTE) or EXPERIMENT
        link = f"[{self.artifact}](#/experiments/{experiment_id}/runs/{to.run_id}/artifacts/{self.artifact})"
        client.set_experiment_tag(experiment_id, NOTE, amended(note, self.label, f"{link}, of the run {to.name}"))


@dataclass(frozen=True)
class MeansOfTests:
    """The test means of a model, for every training run of it, and the line on them."""

    what: ClassVar[str] = "test means"
    md5: str
    means: Mapping[str, float | None]
    line: str
    milliseconds: int

    def apply(self, to: Target) -> None:
        """Do it."""
        tell_trainings(to.store, self.md5, self.means, self.line, self.milliseconds)


@dataclass(frozen=True)
class DatasetInput:
    """A dataset as input: its URL or path, its md5, and its use."""

    what: ClassVar[str] = "datasets"
    name: str
    source: str
    digest: str
    context: str

    def apply(self, to: Target) -> None:
        """Do it."""
        from mlflow.entities import Dataset, InputTag
        from mlflow.entities import DatasetInput as Input

        kind, key = ("http", "url") if self.source.startswith("http") else ("local", "uri")
        dataset = Dataset(self.name, self.digest, source_type=kind, source=json.dumps({key: self.source}))
        to.store.client.log_inputs(
            to.run_id, datasets=[Input(dataset, [InputTag("mlflow.data.context", self.context)])]
        )


@dataclass(frozen=True)
class Model:
    """The model that the run produced and DVC stores; evaluations find it by the md5 of its file."""

    what: ClassVar[str] = "model"
    name: str
    md5: str

    def apply(self, to: Target) -> None:
        """Do it."""
        from mlflow.entities import LoggedModelOutput

        client, experiment_id = to.store.client, to.store.experiment_id
        is_ours = f"tags.`{MODEL_TAG}` = '{self.md5}'"
        found = [
            model
            for model in client.search_logged_models([experiment_id], is_ours)
            if model.source_run_id == to.run_id and model.name == self.name
        ]
        tags = {MODEL_TAG: self.md5, "mlflow.model.isExternal": "true"}
        model = (
            found[0]
            if found
            else client.create_logged_model(experiment_id, self.name, source_run_id=to.run_id, tags=tags)
        )
        client.finalize_logged_model(model.model_id, "READY")
        outputs = client.get_run(to.run_id).outputs if found else None
        if not outputs or model.model_id not in [each.model_id for each in outputs.model_outputs]:
            client.log_outputs(to.run_id, [LoggedModelOutput(model.model_id, step=0)])


@dataclass(frozen=True)
class Artifact:
    """A file of the run, into `folder` of its artifacts: the copy in the journal, or the one at `path`."""

    what: ClassVar[str] = "artifact"
    path: str
    folder: str | None
    kept: str | None

    def apply(self, to: Target) -> None:
        """Do it."""
        file = to.kept / self.kept if self.kept else Path(self.path)
        to.store.client.log_artifact(to.run_id, str(file), self.folder)

    def size(self, kept: Path) -> int:
        """Return its bytes, 0 if that cannot be told."""
        try:
            return (kept / self.kept if self.kept else Path(self.path)).stat().st_size
        except OSError:
            return 0


@dataclass(frozen=True)
class Text:
    """A text as an artifact of the run, at this path among them."""

    what: ClassVar[str] = "artifact"
    text: str
    path: str

    def apply(self, to: Target) -> None:
        """Do it."""
        to.store.client.log_text(to.run_id, self.text, self.path)


@dataclass(frozen=True)
class Trainings:
    """Which runs trained these models (variant, seed, md5), the oldest first, as artifact trainings.csv."""

    what: ClassVar[str] = "artifact"
    path: ClassVar[str] = "trainings.csv"
    models: list[list[Any]]

    def apply(self, to: Target) -> None:
        """Do it."""
        lines = ["variant,seed,md5_model,run"]
        for variant, seed, md5 in self.models:
            runs = to.store.trainings(md5) if md5 else []
            lines += [f"{variant},{seed},{md5 or ''},{each}" for each in runs or [""]]
        to.store.client.log_text(to.run_id, "\n".join(lines) + "\n", self.path)


@dataclass(frozen=True)
class End:
    """The final status (FINISHED or FAILED), when it ended and why it failed."""

    what: ClassVar[str] = "its final status"
    status: str
    milliseconds: int
    failure: str | None

    def apply(self, to: Target) -> None:
        """Do it."""
        if self.failure:
            to.store.client.set_tag(to.run_id, ERROR_TAG, shorten(self.failure, 500))
        to.store.client.set_terminated(to.run_id, self.status, self.milliseconds)
        to.status = self.status
        if self.status == "FINISHED":  # no checkpoint names it any more
            for each in to.ids.glob("*"):
                if each.read_text(encoding="utf-8") == to.run_id:
                    each.unlink(missing_ok=True)


KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        Begin,
        Remember,
        Params,
        Tags,
        Points,
        Description,
        ExperimentLink,
        MeansOfTests,
        DatasetInput,
        Model,
        Artifact,
        Text,
        Trainings,
        End,
    )
}


def named(operation: Operation) -> str:
    """Return what is lacking if an operation is not done, with the path of an artifact."""
    path = getattr(operation, "path", None)
    return f"{operation.what} {path}" if path else operation.what


def encode(operation: Operation) -> str:
    """Return an operation as one line of JSON."""
    return json.dumps({"do": type(operation).__name__, **vars(operation)})


def decode(line: str) -> Operation:
    """Return the operation of a line; raises ValueError, TypeError or LookupError if it is none."""
    values = json.loads(line)
    if not isinstance(values, dict):
        raise TypeError("no operation")
    return checked(KINDS[values.pop("do")](**values))


def checked(record: Record) -> Record:
    """Return a dataclass that was read from JSON; raises TypeError if a field is not of its type."""
    hints = get_type_hints(type(record))
    for each in vars(record):
        if not _fits(getattr(record, each), hints[each]):
            raise TypeError(f"{each} of {type(record).__name__} has the wrong type")
    return record


def _fits(value: object, hint: Any) -> bool:
    """Whether a value has a type that JSON can give: the basic ones, lists and mappings of them, and alternatives."""
    kind, of = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if kind is UnionType:
        return any(_fits(value, each) for each in of)
    if kind is list:
        return isinstance(value, list) and all(_fits(each, of[0]) for each in value)
    if kind is Mapping:
        return isinstance(value, dict) and all(_fits(each, of[1]) for each in value.values())
    return isinstance(value, (int, float) if hint is float else hint) and (hint is bool or not isinstance(value, bool))
