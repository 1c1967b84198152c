"""An open MLflow run and what a stage logs to it."""

import json
import math
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from pipeline.tracking.store import Store, reason

if TYPE_CHECKING:
    import mlflow.entities
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

PARAM_LENGTH = 6000  # characters of the longest value that MLflow stores
MODEL_TAG = "md5.model"
ERROR_TAG = "error"


class Run:
    """A running MLflow run. Its methods never raise: what fails is said on stderr, once and again at the end.

    Tracking must not cost a training its result, so a store that fails in the middle gives a warning, no more.
    """

    def __init__(self, store: Store, record: "mlflow.entities.Run", model_id: str | None = None) -> None:
        """Wrap a run of the store; metrics are those of the model `model_id` too, if that is given."""
        self.id: str = record.info.run_id
        self.name: str = record.info.run_name
        self._store = store
        self._model_id = model_id
        self._known_params = set(record.data.params)
        # A resumed training repeats the rounds since its last checkpoint: what is there is not logged twice.
        self._last_step = {metric.key: metric.step for metric in record.to_proto().data.metrics}
        self._digests: dict[str, str] = {}
        self._unsent: list[mlflow.entities.Metric] = []
        self._missing: set[str] = set()
        self._monitor: SystemMetricsMonitor | None = None

    def log_metrics(
        self, metrics: Mapping[str, float | None], step: int | None = None, dataset: str | None = None
    ) -> None:
        """Log a whole round of metrics in one call; a value that is None or not finite becomes nan.

        `dataset` names the logged dataset on which they were measured. Metrics that could not be sent are kept and go
        with the next ones.
        """
        with self._survive("metrics"):
            from mlflow.entities import Metric

            now = time.time_ns() // 1_000_000
            origin = (dataset, self._digests[dataset]) if dataset else (None, None)
            for key, value in metrics.items():
                key = re.sub(r"[^\w/.\- :]", "_", key)
                if step is not None and step <= self._last_step.get(key, -1):
                    continue
                # MLflow would turn an infinity into 1.8e308, beside which no curve can be read.
                value = math.nan if value is None or math.isinf(value) else float(value)
                self._unsent.append(Metric(key, value, now, step or 0, self._model_id, *origin))
            self._send_metrics()

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log a nested mapping under dotted keys, values as in JSON; keys that the run already has are left alone."""
        with self._survive("params"):
            from mlflow.entities import Param

            new = {key: value for key, value in flatten(params).items() if key not in self._known_params}
            self._log_batch(params=[Param(key, _cut(value)) for key, value in new.items()])
            self._known_params |= set(new)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; an earlier value is replaced."""
        with self._survive("tags"):
            from mlflow.entities import RunTag

            self._log_batch(tags=[RunTag(key, str(value)) for key, value in tags.items()])

    def log_dataset(self, name: str, source: str, digest: str, context: str) -> None:
        """Log a dataset as input: its URL or path, its md5, and its use (training, validation or testing)."""
        with self._survive("datasets"):
            from mlflow.entities import Dataset, DatasetInput, InputTag

            self._digests[name] = digest
            kind, key = ("http", "url") if source.startswith("http") else ("local", "uri")
            dataset = Dataset(name, digest, source_type=kind, source=json.dumps({key: source}))
            use = InputTag("mlflow.data.context", context)
            self._store.client.log_inputs(self.id, datasets=[DatasetInput(dataset, [use])])

    def log_model(self, name: str, md5: str) -> None:
        """Record the model that this run produced and DVC stores; evaluations find it by the md5 of its file."""
        self.set_tags({MODEL_TAG: md5})
        with self._survive("model"):
            from mlflow.entities import LoggedModelOutput

            client = self._store.client
            tags = {MODEL_TAG: md5, "mlflow.model.isExternal": "true"}
            model = client.create_logged_model(self._store.experiment_id, name, source_run_id=self.id, tags=tags)
            client.finalize_logged_model(model.model_id, "READY")
            client.log_outputs(self.id, [LoggedModelOutput(model.model_id, step=0)])

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file to the run's artifacts, into `folder` of them."""
        with self._survive(f"artifact {path}"):
            self._store.client.log_artifact(self.id, str(path), folder)

    def monitor_system(self, resumed: bool) -> None:
        """Sample CPU, memory, disk, network and GPU every ten seconds, in a thread of MLflow's."""
        with self._survive("system metrics"):
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            self._monitor = SystemMetricsMonitor(self.id, resume_logging=resumed, tracking_uri=self._store.uri)
            self._monitor.start()

    def end(self, status: str, failure: str | None = None) -> None:
        """Give the run its final status (FINISHED or FAILED), and say what it lacks."""
        with self._survive("its final status"):
            # The status first: a second signal may leave time for no more.
            self._store.client.set_terminated(self.id, status)
            if failure:
                self._store.client.set_tag(self.id, ERROR_TAG, shorten(failure, 500))
            self._send_metrics()
            if self._monitor:
                self._monitor.finish()
        if self._missing:
            missing = ", ".join(sorted(self._missing))
            print(f"warning: MLflow run {self.name} in {self._store.name} lacks {missing}", file=sys.stderr)

    def _send_metrics(self) -> None:
        self._log_batch(metrics=self._unsent)
        self._unsent = []
        self._missing.discard("metrics")

    def _log_batch(self, **entities: list) -> None:
        self._store.client.log_batch(self.id, **entities, synchronous=True)

    @contextmanager
    def _survive(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self._missing:
                print(f"warning: MLflow: could not log {what}: {reason(error)}; the run goes on", file=sys.stderr)
            self._missing.add(what)


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
