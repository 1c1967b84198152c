"""An open MLflow run and what a stage logs to it."""

import json
import math
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_pipeline.digest import MODEL_TAG, md5_text
from mosaic_pipeline.tracking.delivery import Delivery, Patience
from mosaic_pipeline.tracking.operations import (
    Artifact,
    DatasetInput,
    Description,
    End,
    ExperimentLink,
    MeansOfTests,
    Model,
    Operation,
    Params,
    Points,
    Remember,
    Tags,
    Text,
    Trainings,
)
from mosaic_pipeline.tracking.sending import Sending, lacking
from mosaic_pipeline.tracking.store import reason
from mosaic_pipeline.tracking.system import SystemMonitor

PARAM_LENGTH = 6000  # characters of the longest value that MLflow stores
DATA_TAG = "md5.data"


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

    Tracking must not cost a training its result, or its time, so a store that fails or hangs gives a warning, no more.
    What it did not get stays in the journal.
    """

    def __init__(
        self, sending: Sending, delivery: Delivery, store: str, run_id: str | None, waited: float, patience: Patience
    ) -> None:
        """Hand over to `sending`, for the store of this name. Its start has `waited` in vain for so many seconds."""
        self.name: str = sending.journal.header.name
        self._sending, self._delivery, self._store = sending, delivery, store
        self._handed_out = run_id or sending.journal.header.session
        self._digests: dict[str, str] = {}
        self._warned = self._ended = self._unkept = False
        self._monitor: SystemMonitor | None = None
        self._started, self._waited, self._patience = time.monotonic(), waited, patience

    @property
    def id(self) -> str:
        """The id in the store, or while that is not known one of ours, by which the run is continued as well."""
        return self._sending.run_id or self._handed_out

    def remember(self) -> None:
        """Let the run be found by the id that stands for one which is not known."""
        self._hand_over(Remember(self._handed_out))

    def log_metrics(
        self, metrics: Mapping[str, float | None], step: int | None = None, dataset: str | None = None
    ) -> None:
        """Log a whole round of metrics; a value that is None or not finite becomes nan.

        `dataset` names the logged dataset on which they were measured. Steps that the run already had are left alone.
        """
        now = _milliseconds()
        points: list[list[Any]] = []
        for key, value in metrics.items():
            key = re.sub(r"[^\w/.\- :]", "_", key)
            # MLflow would turn an infinity into 1.8e308, beside which no curve can be read.
            value = math.nan if value is None or math.isinf(value) else float(value)
            points.append([key, value, now, step, dataset, self._digests.get(dataset) if dataset else None])
        self._hand_over(Points(points))

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log a nested mapping under dotted keys, values as in JSON; keys that the run already has are left alone."""
        if params:
            self._hand_over(Params({key: _cut(value) for key, value in flatten(params).items()}))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; an earlier value is replaced."""
        self._hand_over(Tags({key: str(value) for key, value in tags.items()}))

    def describe(self, label: str, text: str) -> None:
        """Put a line into the run's description, in place of an earlier one of this label; other lines stay."""
        self._hand_over(Description(label, text))

    def point_from_experiment(self, label: str, artifact: str) -> None:
        """Put a line with a link to an artifact of this run into the experiment's description.

        That begins with ours if there was none.
        """
        self._hand_over(ExperimentLink(label, artifact))

    def tell_trainings(self, md5: str, means: Mapping[str, float | None], line: str) -> None:
        """Give every training run of the model with this md5 its test means, and the line on them."""
        self._hand_over(MeansOfTests(md5, dict(means), line, _milliseconds()))

    def log_dataset(self, name: str, source: str, digest: str, context: str) -> None:
        """Log a dataset as input: its URL or path, its md5, and its use (training, validation or testing)."""
        self._digests[name] = digest
        self._hand_over(DatasetInput(name, source, digest, context))

    def log_model(self, name: str, md5: str) -> None:
        """Record the model that this run produced and DVC stores; evaluations find it by the md5 of its file."""
        self.set_tags({MODEL_TAG: md5})
        self._hand_over(Model(name, md5))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file to the run's artifacts, into `folder` of them; a large one must stay where it is until then."""
        self._hand_over(Artifact(str(path.absolute()), folder, self._sending.journal.keep(path)))

    def log_text(self, text: str, place: str) -> None:
        """Store a text as an artifact of the run, at this path among them."""
        self._hand_over(Text(text, place))

    def log_trainings(self, models: Mapping[tuple[str, int], str | None]) -> None:
        """Keep as artifact trainings.csv which runs trained these models (md5 by variant and seed), oldest first.

        It is known here alone: an id is another in each training, so that no file of DVC's or git's has one.
        """
        self._hand_over(Trainings([[variant, seed, md5] for (variant, seed), md5 in models.items()]))

    def monitor_system(self) -> None:
        """Sample CPU, memory, disk, network and GPU every ten seconds, in a thread."""
        self._monitor = SystemMonitor(lambda sample, number: self.log_metrics(sample, number))

    def end(self, status: str, failure: str | None = None) -> None:
        """Give the run its final status (FINISHED or FAILED), and say what it lacks, or what is sent later."""
        if not self._ended:  # a second signal makes this a second call
            if self._monitor:
                self._monitor.finish()
            self._ended = True
            self._hand_over(End(status, _milliseconds(), failure))
        patience, ran = self._patience, time.monotonic() - self._started
        silent = max(patience.silent, patience.share * ran) - self._waited
        longest = patience.last if status == "FINISHED" else patience.interrupted
        self._delivery.finish(self._sending, max(silent, 0), longest)
        self._warned = True  # what fails from now on is told by the next line
        if self._sending.refused:
            print(f"warning: {lacking(self._sending, self._store)}", file=sys.stderr)
        if not self._sending.done:
            print(f"warning: {kept(self._sending, self._store)}", file=sys.stderr)

    def warn(self, what: str, error: Exception) -> None:
        """Say once that something could not be logged."""
        if not self._warned:
            print(f"warning: MLflow: could not log {what}: {reason(error)}; the run goes on", file=sys.stderr)
        self._warned = True

    def _hand_over(self, operation: Operation) -> None:
        failed = self._delivery.add(self._sending, operation)
        if failed and not self._unkept:
            print(f"warning: MLflow: could not keep {operation.what} in .cache/tracking: {failed}", file=sys.stderr)
            self._unkept = True


def kept(sending: Sending, store: str) -> str:
    """Say what of a journal is still to be sent."""
    points = sending.journal.points
    what = f"{points:,} point{'s' * (points != 1)}" if points else "what is left"
    are, go = ("are", "go") if points > 1 else ("is", "goes")
    why = f" ({sending.error})" if sending.stuck else ""
    return (
        f"MLflow run {sending.journal.header.name}: {what} {are} kept in .cache/tracking and {go} to {store}{why} at "
        "the next stage, or by `python -m stages.sync`"
    )


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


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
