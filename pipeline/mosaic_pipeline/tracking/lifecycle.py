"""The life of an MLflow run: one per candidate, training, evaluation, analysis and report, linked by content.

A training run carries the md5 of the model it wrote; what tests or analyses that model looks it up and nests under it.
No run id stands in a file that DVC tracks, so results that DVC restores from its cache stay valid.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import root as project_root
from mosaic_pipeline.params import Tracking
from mosaic_pipeline.redact import redacted
from mosaic_pipeline.tracking.delivery import PATIENCE, delivery_to
from mosaic_pipeline.tracking.journal import Journal, journals
from mosaic_pipeline.tracking.notes import LONGEST_NOTE, NOTE, amended, counted
from mosaic_pipeline.tracking.operations import Begin, End
from mosaic_pipeline.tracking.revision import git_revision
from mosaic_pipeline.tracking.run import DATA_TAG, Inputs, Run
from mosaic_pipeline.tracking.sending import Sending, TakesTurns
from mosaic_pipeline.tracking.store import denied, is_known, is_server, own_uri, passes, prepare, tracking_uri, unusable

Stage = Literal[
    "recognise",
    "tune",
    "train",
    "evaluate",
    "analyse",
    "corrupt",
    "transfer",
    "report",
    "seg_train",
    "seg_evaluate",
    "seg_analyse",
    "seg_report",
]


@contextmanager
def tracked_run(
    stage: Stage,
    name: str,
    tracking: Tracking,
    *,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    note: str | None = None,
    parent_model_md5: str | None = None,
    inputs: Inputs | None = None,
    run_id: str | None = None,
    system_metrics: bool = False,
) -> Iterator[Run]:
    """Do the body as an MLflow run: FINISHED in the end, FAILED on any exception, Ctrl-C and SIGTERM included.

    What the store does not take before the end stays in a journal, and is sent later. So a server that has answered
    before may be out of reach from the start; of any other store that is an error.

    `note` describes a new run, in Markdown, and its `inputs` are a line of that; a continued one keeps what it has.
    `parent_model_md5` nests the run under the training run that logged that model, and ties its metrics to the model,
    if the store knows them. `run_id` continues that run; should it be gone, a new one begins. Raises PipelineError if
    the store cannot be opened.
    """
    tags = {"stage": stage, **_provenance(), **(tags or {})}
    if inputs:
        tags[DATA_TAG] = inputs.digest
        note = note and amended(note, "Data", counted(inputs.sources))
    run = _begin(stage, name, tracking.experiment, note, parent_model_md5, run_id)

    status, failure = "FAILED", None
    try:
        run.set_tags(tags)
        run.log_params(params or {})
        if inputs:
            for dataset, digest in inputs.digests.items():
                run.log_dataset(dataset, inputs.sources[dataset], digest, inputs.use)
        if system_metrics:
            run.monitor_system()
        yield run
        status = "FINISHED"
    except BaseException as error:
        if isinstance(error, SystemExit) and not error.code:
            status = "FINISHED"
        else:
            failure = redacted(repr(error))
        raise
    finally:
        try:
            run.end(status, failure)
        except BaseException:  # a second signal, while this one was being recorded
            run.end(status, failure)
            raise


def _begin(
    stage: Stage, name: str, experiment: str, note: str | None, parent_model_md5: str | None, run_id: str | None
) -> Run:
    """Begin a run, or continue one, and wait until the store knows it, or for a server that is known a moment."""
    prepare()
    root = project_root()
    uri = tracking_uri(root)
    shown, known = redacted(uri), is_known(uri, experiment, root)
    try:
        journal = Journal.create(root, "" if uri == own_uri(root) else shown, experiment, name)
    except OSError as error:
        raise PipelineError(f"{journals(root)}: {error}; make that writable") from error
    delivery, run = delivery_to(uri, experiment, root), None

    def warn(what: str, error: Exception) -> None:
        if run:
            run.warn(what, error)

    sending = Sending(journal, root, warn)
    started = time.monotonic()
    journal.append(Begin(run_id, name, time.time_ns() // 1_000_000, _tags(stage, note), parent_model_md5))
    delivery.begin(sending, PATIENCE)
    try:
        failed = delivery.wait_for_start(sending, PATIENCE.start if known else None)
    except BaseException as interruption:  # the store may know the run by now
        delivery.add(sending, End("FAILED", time.time_ns() // 1_000_000, redacted(repr(interruption))))
        delivery.finish(sending, PATIENCE.silent, PATIENCE.interrupted)
        if not (known or sending.begun or sending.done):
            delivery.drop(sending)
        raise
    takes_turns = isinstance(failed, TakesTurns)  # the store is there, and gets this later
    if failed and not takes_turns and not (known and passes(failed) and not denied(failed)):
        delivery.drop(sending)
        raise failed if isinstance(failed, PipelineError) else unusable(shown, failed) from failed
    # Of a database only the load of this machine makes one wait.
    patience = PATIENCE if is_server(uri) else replace(PATIENCE, silent=PATIENCE.last)
    run = Run(sending, delivery, shown, run_id, time.monotonic() - started if failed else 0, patience)
    if failed:
        run.remember()
        if not isinstance(failed, (TimeoutError, TakesTurns)):
            run.warn("its start", failed)
    return run


def _tags(stage: Stage, note: str | None) -> dict[str, str]:
    """Return what a new run is tagged with: user, source, git commit and branch, and the description."""
    from mlflow.tracking.context.registry import resolve_tags

    source = f"stages/{stage.replace('seg_', 'segmentation/')}.py"
    tags = resolve_tags({"mlflow.source.name": source})
    tags = {key: redacted(str(value)) for key, value in tags.items()}  # a remote's URL may hold a token
    if note:
        tags[NOTE] = note[:LONGEST_NOTE]
    return tags


def _provenance() -> dict[str, str]:
    """Tags that say which code ran, and in which DVC stage and experiment."""
    tags = {
        "dvc.stage": os.environ.get("DVC_STAGE"),
        "dvc.exp_name": os.environ.get("DVC_EXP_NAME"),
        "dvc.exp_baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
        "git.revision": git_revision(),
    }
    return {key: value for key, value in tags.items() if value}
