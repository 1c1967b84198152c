"""An open MLflow run and what a stage logs to it."""

import json
import math
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from mosaic_pipeline.digest import MODEL_TAG, md5_text
from mosaic_pipeline.tracking.delivery import PATIENCE, Delivery
from mosaic_pipeline.tracking.notes import EXPERIMENT, LONGEST_NOTE, NOTE, amended
from mosaic_pipeline.tracking.store import Store, passes, reason
from mosaic_pipeline.tracking.trainings import tell_trainings

if TYPE_CHECKING:
    import mlflow.entities
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

PARAM_LENGTH = 6000  # characters of the longest value that MLflow stores
PARAM_BATCH = 100  # parameters in one call; more are refused by MLflow
DATA_TAG = "md5.data"
ERROR_TAG = "error"


@dataclass(frozen=True)
class Point:
    """One value of a metric, with what is known of it when it is measured."""

    key: str
    value: float
    milliseconds: int
    step: int
    dataset: str | None
    digest: str | None


@dataclass(frozen=True)
class Inputs:
    """The datasets of a run: its use of them (training, validation, testing), where each is from, and its md5."""

    use: str
    sources: Mapping[str, str]
    digests: Mapping[str, str]

    @property
    def digest(self) -> str:
        """The md5 that stands for all of them."""
        return md5_text(json.dumps(dict(self.digests)))


class Run:
    """A running MLflow run. Its methods never raise and never wait: what fails is said on stderr, and again at the end.

    Tracking must not cost a training its result, or its time, so a store that fails or hangs in the middle gives a
    warning, no more.
    """

    def __init__(self, store: Store, record: "mlflow.entities.Run", model_id: str | None = None) -> None:
        """Wrap a run of the store; metrics are those of the model `model_id` too, if that is given."""
        self.id: str = record.info.run_id
        self.name: str = record.info.run_name
        self._store = store
        self._model_id = model_id
        self._known_params = set(record.data.params)
        # A resumed training gives all rounds again: what is there is not logged twice.
        self._last_step = {metric.key: metric.step for metric in record.to_proto().data.metrics}
        self._digests: dict[str, str] = {}
        self._warned = self._ended = False
        self._monitor: SystemMetricsMonitor | None = None
        self._delivery = Delivery(self._send, passes, self._warn, PATIENCE)

    def log_metrics(
        self, metrics: Mapping[str, float | None], step: int | None = None, dataset: str | None = None
    ) -> None:
        """Log a whole round of metrics; a value that is None or not finite becomes nan.

        `dataset` names the logged dataset on which they were measured. Steps that the run already had are left alone.
        """
        now = time.time_ns() // 1_000_000
        points = []
        for key, value in metrics.items():
            key = re.sub(r"[^\w/.\- :]", "_", key)
            if step is not None and step <= self._last_step.get(key, -1):
                continue
            # MLflow would turn an infinity into 1.8e308, beside which no curve can be read.
            value = math.nan if value is None or math.isinf(value) else float(value)
            points.append(Point(key, value, now, step or 0, dataset, self._digests.get(dataset) if dataset else None))
        self._delivery.add(points)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log a nested mapping under dotted keys, values as in JSON; keys that the run already has are left alone."""
        from mlflow.entities import Param

        new = {key: value for key, value in flatten(params).items() if key not in self._known_params}
        self._known_params |= set(new)
        entities = [Param(key, _cut(value)) for key, value in new.items()]
        for start in range(0, len(entities), PARAM_BATCH):
            self._log_batch("params", params=entities[start : start + PARAM_BATCH])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; an earlier value is replaced."""
        from mlflow.entities import RunTag

        self._log_batch("tags", tags=[RunTag(key, str(value)) for key, value in tags.items()])

    def describe(self, label: str, text: str) -> None:
        """Put a line into the run's description, in place of an earlier one of this label; other lines stay."""

        def amend() -> None:
            client = self._store.client
            note = client.get_run(self.id).data.tags.get(NOTE, "")
            client.set_tag(self.id, NOTE, amended(note, label, text)[:LONGEST_NOTE])

        self._delivery.call("its description", amend)

    def point_from_experiment(self, label: str, artifact: str) -> None:
        """Put a line with a link to an artifact of this run into the experiment's description.

        That begins with ours if there was none.
        """

        def amend() -> None:
            client, experiment_id = self._store.client, self._store.experiment_id
            note = client.get_experiment(experiment_id).tags.get(NOTE) or EXPERIMENT
            link = f"[{artifact}](#/experiments/{experiment_id}/runs/{self.id}/artifacts/{artifact})"
            client.set_experiment_tag(experiment_id, NOTE, amended(note, label, f"{link}, of the run {self.name}"))

        self._delivery.call("the experiment's description", amend)

    def tell_trainings(self, md5: str, means: Mapping[str, float | None], line: str) -> None:
        """Give every training run of the model with this md5 its test means, and the line on them."""
        self._delivery.call("test means", lambda: tell_trainings(self._store, md5, means, line))

    def log_dataset(self, name: str, source: str, digest: str, context: str) -> None:
        """Log a dataset as input: its URL or path, its md5, and its use (training, validation or testing)."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        self._digests[name] = digest
        kind, key = ("http", "url") if source.startswith("http") else ("local", "uri")
        dataset = Dataset(name, digest, source_type=kind, source=json.dumps({key: source}))
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])]
        self._delivery.call("datasets", lambda: self._store.client.log_inputs(self.id, datasets=inputs))

    def log_model(self, name: str, md5: str) -> None:
        """Record the model that this run produced and DVC stores; evaluations find it by the md5 of its file."""
        self.set_tags({MODEL_TAG: md5})

        def log() -> None:
            from mlflow.entities import LoggedModelOutput

            client = self._store.client
            tags = {MODEL_TAG: md5, "mlflow.model.isExternal": "true"}
            model = client.create_logged_model(self._store.experiment_id, name, source_run_id=self.id, tags=tags)
            client.finalize_logged_model(model.model_id, "READY")
            client.log_outputs(self.id, [LoggedModelOutput(model.model_id, step=0)])

        self._delivery.call("model", log)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file to the run's artifacts, into `folder` of them; it must stay where it is until the run ends."""
        self._delivery.call(f"artifact {path}", lambda: self._store.client.log_artifact(self.id, str(path), folder))

    def log_text(self, text: str, place: str) -> None:
        """Store a text as an artifact of the run, at this path among them."""
        self._delivery.call(f"artifact {place}", lambda: self._store.client.log_text(self.id, text, place))

    def log_trainings(self, models: Mapping[tuple[str, int], str | None]) -> None:
        """Keep as artifact trainings.csv which runs trained these models (md5 by variant and seed), oldest first.

        It is known here alone: an id is another in each training, so that no file of DVC's or git's has one.
        """

        def log() -> None:
            lines = ["variant,seed,md5_model,run"]
            for (variant, seed), md5 in models.items():
                runs = self._store.trainings(md5) if md5 else []
                lines += [f"{variant},{seed},{md5 or ''},{each}" for each in runs or [""]]
            self._store.client.log_text(self.id, "\n".join(lines) + "\n", "trainings.csv")

        self._delivery.call("artifact trainings.csv", log)

    def monitor_system(self, resumed: bool) -> None:
        """Sample CPU, memory, disk, network and GPU every ten seconds, in a thread of MLflow's."""

        def start() -> None:
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            self._monitor = SystemMetricsMonitor(self.id, resume_logging=resumed, tracking_uri=self._store.uri)
            self._monitor.start()

        self._delivery.call("system metrics", start)

    def end(self, status: str, failure: str | None = None) -> None:
        """Give the run its final status (FINISHED or FAILED), and say what it lacks."""
        client = self._store.client
        if not self._ended:  # a second signal makes this a second call
            # The status first: little time may be left.
            self._delivery.call("its final status", lambda: client.set_terminated(self.id, status), first=True)
            self._ended = True
            if failure:
                self._delivery.call("its error", lambda: client.set_tag(self.id, ERROR_TAG, shorten(failure, 500)))
            self._delivery.call("system metrics", lambda: self._monitor and self._monitor.finish())
        lacking = self._delivery.close(interrupted=status != "FINISHED")
        if lacking:
            print(f"warning: MLflow run {self.name} in {self._store.name} lacks {', '.join(lacking)}", file=sys.stderr)

    def _send(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(p.key, p.value, p.milliseconds, p.step, self._model_id, p.dataset, p.digest) for p in points]
        self._store.client.log_batch(self.id, metrics=metrics, synchronous=True)

    def _log_batch(self, what: str, **entities: list) -> None:
        self._delivery.call(what, lambda: self._store.client.log_batch(self.id, **entities, synchronous=True))

    def _warn(self, what: str, error: Exception) -> None:
        if not self._warned:
            print(f"warning: MLflow: could not log {what}: {reason(error)}; the run goes on", file=sys.stderr)
        self._warned = True


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a nested mapping as dotted keys and text: strings as they are, all else as JSON."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return flat


def _cut(value: str) -> str:
    return value if len(value) <= PARAM_LENGTH else value[: PARAM_LENGTH - 1] + "…"
