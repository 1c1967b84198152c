"""The MLflow store: which one it is, the first connection, and our experiment in it."""

import os
import re
import sqlite3
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from filelock import FileLock

from mosaic_pipeline.digest import MODEL_TAG, md5_text
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import root as project_root
from mosaic_pipeline.present import present
from mosaic_pipeline.redact import redacted
from mosaic_pipeline.tracking.anchor import ARTIFACTS, follow
from mosaic_pipeline.tracking.notes import EXPERIMENT, NOTE

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What mlflow reads from the environment, unless the user has set it: no log lines (every failure reaches us as an
# exception), no links on stdout, no usage data sent home; a call to a server that went away, or that asks to be left
# alone for an hour, takes a quarter of a minute, and is not repeated where nobody can know whether it was done.
DEFAULTS = {
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
}
FIRST_CONTACT = 10  # seconds that a server has to answer at all
LOCK_TIMEOUT = 120  # seconds; creating a database takes one or two

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


@dataclass(frozen=True)
class Store:
    """An open MLflow store and our experiment in it; `name` is its URI without credentials."""

    client: "MlflowClient"
    uri: str
    name: str
    experiment_id: str

    def trainings(self, md5: str) -> list[str]:
        """Return the ids of the runs that trained the model with this md5, the oldest first."""
        of_model = f"tags.`{MODEL_TAG}` = '{md5}'"
        found = [
            run
            for stage in ("train", "seg_train")
            for run in self.client.search_runs([self.experiment_id], f"{of_model} and tags.stage = '{stage}'")
        ]
        return [run.info.run_id for run in sorted(found, key=lambda run: run.info.start_time)]


def open_store(experiment: str) -> Store:
    """Connect to MLFLOW_TRACKING_URI, else to mlflow.db in the project's root; find or create the experiment.

    The root is DVC_ROOT, which names the main repository in the temporary copies of queued experiments too, else the
    current directory. Raises PipelineError if the store cannot be opened or the experiment was deleted there.
    """
    root = project_root()
    uri = tracking_uri(root)
    try:
        return connect(uri, experiment, root)
    except PipelineError:
        raise
    except Exception as error:
        raise unusable(redacted(uri), error) from error


def connect(uri: str, experiment: str, root: Path) -> Store:
    """Connect to the store at `uri` for a checkout at `root`; find or create the experiment.

    Raises PipelineError if the experiment was deleted there, and whatever MLflow raises.
    """
    prepare()
    from mlflow import MlflowClient

    with _first_contact(uri, root):
        if uri == own_uri(root):  # a store that checkouts share follows none of them
            follow(root, LOCK_TIMEOUT)
        client = MlflowClient(uri)
        store = Store(client, uri, redacted(uri), _experiment_id(client, uri, experiment, root))
    if is_server(uri):
        known = _known(uri, experiment, root)
        known.parent.mkdir(parents=True, exist_ok=True)
        known.touch()
    return store


def prepare() -> None:
    """Set what MLflow reads from the environment when it is imported, and import it."""
    for key, value in DEFAULTS.items():
        os.environ.setdefault(key, value)
    import mlflow.tracking  # noqa: F401


def is_known(uri: str, experiment: str, root: Path) -> bool:
    """Whether this is a server that has answered the checkout at `root` before: then an outage is all it can be."""
    return is_server(uri) and _known(uri, experiment, root).exists()


def _known(uri: str, experiment: str, root: Path) -> Path:
    return root / ".cache" / "tracking" / "servers" / md5_text(f"{redacted(uri)} {experiment}")


def tracking_uri(root: Path) -> str:
    """Return the URI of the store that a checkout at `root` uses, credentials included."""
    return os.environ.get("MLFLOW_TRACKING_URI") or own_uri(root)


def own_uri(root: Path) -> str:
    """Return the URI of the database in a checkout at `root`."""
    return f"sqlite:///{(root / 'mlflow.db').as_posix()}"


def unusable(name: str, error: Exception) -> PipelineError:
    """Return the one-line error for a store that does not do what every run needs."""
    chosen = os.environ.get("MLFLOW_TRACKING_URI")
    way_out = "unset MLFLOW_TRACKING_URI to use mlflow.db" if chosen else "move it away to begin a new one"
    return PipelineError(f"MLflow store {name}: {reason(error)}; mend that, or {way_out}")


def passes(error: Exception) -> bool:
    """Whether a call to MLflow failed for want of an answer, or of rights, rather than because it was refused.

    What a proxy answers for a server that is away is no answer, whatever its status.
    """
    import requests

    status = _status(error)
    if status is None:
        return isinstance(error, (requests.RequestException, ConnectionError, TimeoutError))
    asks_for_time = status >= 500 or status in (requests.codes.too_many_requests, requests.codes.request_timeout)
    return asks_for_time or denied(error) or not _own_word(error)


def missing(error: Exception) -> bool:
    """Whether MLflow itself says that it does not have what was asked for."""
    return getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST" and _own_word(error)


def _own_word(error: Exception) -> bool:
    """Whether the answer with which a call failed is MLflow's: one with an error code of its own."""
    import requests
    from mlflow.exceptions import MlflowException, RestException

    if isinstance(error, RestException):
        return error.json.get("error_code") == error.error_code
    if isinstance(error, MlflowException):  # of a database, or of mlflow's own checks, unless it is what this begins
        return not str(error).startswith("API request to ")
    if isinstance(error, requests.HTTPError) and error.response is not None:
        try:
            return isinstance(error.response.json()["error_code"], str)
        except (ValueError, TypeError, LookupError):
            return False
    return False


def denied(error: Exception) -> bool:
    """Whether MLflow wants another password."""
    import requests

    return _status(error) in (requests.codes.unauthorized, requests.codes.forbidden)


def _status(error: Exception) -> int | None:
    """Return the status of the answer with which a call failed, or what MLflow takes for it; None without any."""
    import requests
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.get_http_status_code()
    if isinstance(error, requests.HTTPError) and error.response is not None:  # of an artifact
        return error.response.status_code
    return None


def answered(error: BaseException) -> bool:
    """Whether a failed call to MLflow had an answer: then another call may have another one."""
    import requests

    chain = _chain(error)
    return any(isinstance(each, requests.HTTPError) for each in chain) or not any(
        isinstance(each, (requests.RequestException, OSError)) for each in chain
    )


def reason(error: BaseException) -> str:
    """Say in one line why a call to MLflow failed: the word of the system or the database, else MLflow's own."""
    root = next((cause for cause in reversed(_chain(error)) if isinstance(cause, (OSError, sqlite3.Error))), error)
    return shorten(redacted(str(root)), 300) or type(root).__name__


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    return chain


def is_server(uri: str) -> bool:
    """Whether a store is reached over HTTP."""
    return uri.startswith(("http://", "https://"))


def _is_database(uri: str) -> bool:
    return re.split(r"[:+]", uri)[0] in DATABASES


def _first_contact(uri: str, root: Path) -> AbstractContextManager:
    """See that somebody is there; for a database, whose tables the first process creates, one process at a time."""
    if is_server(uri):
        import requests

        with suppress(requests.exceptions.SSLError):  # somebody is there; certificates are between mlflow and the user
            requests.get(uri, timeout=FIRST_CONTACT, stream=True).close()
    if not _is_database(uri):
        return nullcontext()

    from mlflow.store.db import utils

    utils.MAX_RETRY_COUNT = 3  # its 10 make 100 silent seconds before a file that is no database is told
    lock = root / ".cache" / "mlflow.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(lock, timeout=LOCK_TIMEOUT)


def _experiment_id(client: "MlflowClient", uri: str, name: str, root: Path) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        # A server has its own place for artifacts. Beside a database mlflow would take the current directory, which
        # for a queued experiment is a copy that DVC deletes.
        artifacts = (root / ARTIFACTS).as_uri() if _is_database(uri) else None
        try:
            return client.create_experiment(name, artifact_location=artifacts, tags={NOTE: EXPERIMENT})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = present(client.get_experiment_by_name(name))  # another process was faster
    if experiment.lifecycle_stage == "deleted":
        raise PipelineError(
            f"MLflow experiment '{name}' was deleted; bring it back with `mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}`, or choose another tracking.experiment in params.yaml"
        )
    return experiment.experiment_id
