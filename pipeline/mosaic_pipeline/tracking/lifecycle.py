"""The life of an MLflow run: one per candidate, training, evaluation, analysis and report, linked by content.

A training run carries the md5 of the model it wrote; what tests or analyses that model looks it up and nests under it.
No run id stands in a file that DVC tracks, so results that DVC restores from its cache stay valid.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from mosaic_pipeline.digest import MODEL_TAG
from mosaic_pipeline.params import Tracking
from mosaic_pipeline.redact import redacted
from mosaic_pipeline.tracking.notes import LONGEST_NOTE, NOTE, amended, counted
from mosaic_pipeline.tracking.revision import git_revision
from mosaic_pipeline.tracking.run import DATA_TAG, ERROR_TAG, Inputs, Run
from mosaic_pipeline.tracking.store import Store, open_store, unusable

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

    `note` describes a new run, in Markdown, and its `inputs` are a line of that; a continued one keeps what it has.
    `parent_model_md5` nests the run under the training run that logged that model, and ties its metrics to the model,
    if the store knows them. `run_id` continues that run; should it be gone, a new one begins. Raises PipelineError if
    the store cannot be opened.
    """
    store = open_store(tracking.experiment)
    tags = {"stage": stage, **_provenance(), **(tags or {})}
    if inputs:
        tags[DATA_TAG] = inputs.digest
        note = note and amended(note, "Data", counted(inputs.sources))
    try:
        run = _resume(store, run_id) or _create(store, stage, name, note, parent_model_md5)
    except Exception as error:
        raise unusable(store.name, error) from error

    status, failure = "FAILED", None
    try:
        run.set_tags(tags)
        run.log_params(params or {})
        if inputs:
            for dataset, digest in inputs.digests.items():
                run.log_dataset(dataset, inputs.sources[dataset], digest, inputs.use)
        if system_metrics:
            run.monitor_system(resumed=run_id is not None)
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


def _create(store: Store, stage: Stage, name: str, note: str | None, parent_model_md5: str | None) -> Run:
    """Begin a new run, nested under the latest training run that logged the parent model."""
    from mlflow.tracking.context.registry import resolve_tags

    source = f"stages/{stage.replace('seg_', 'segmentation/')}.py"
    tags = resolve_tags({"mlflow.source.name": source})  # user, git commit and branch
    tags = {key: redacted(str(value)) for key, value in tags.items()}  # a remote's URL may hold a token
    if note:
        tags[NOTE] = note[:LONGEST_NOTE]
    model_id = None
    if parent_model_md5:
        parents = store.trainings(parent_model_md5)
        is_model = f"tags.`{MODEL_TAG}` = '{parent_model_md5}'"
        models = store.client.search_logged_models([store.experiment_id], is_model, max_results=1)
        if parents:
            tags["mlflow.parentRunId"] = parents[-1]
        if models:
            model_id = models[0].model_id
    return Run(store, store.client.create_run(store.experiment_id, tags=tags, run_name=name), model_id)


def _resume(store: Store, run_id: str | None) -> Run | None:
    """Set a run back to RUNNING; None if there is none to continue."""
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    try:
        record = store.client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        record = None
    if record is None or record.info.lifecycle_stage == "deleted":
        print(f"MLflow run {run_id} is gone from {store.name}; continuing under a new one", file=sys.stderr)
        return None
    store.client.update_run(run_id, status="RUNNING")
    if ERROR_TAG in record.data.tags:
        store.client.delete_tag(run_id, ERROR_TAG)
    return Run(store, record)


def _provenance() -> dict[str, str]:
    """Tags that say which code ran, and in which DVC stage and experiment."""
    tags = {
        "dvc.stage": os.environ.get("DVC_STAGE"),
        "dvc.exp_name": os.environ.get("DVC_EXP_NAME"),
        "dvc.exp_baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
        "git.revision": git_revision(),
    }
    return {key: value for key, value in tags.items() if value}
