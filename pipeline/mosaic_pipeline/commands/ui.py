"""Browse the MLflow runs at 127.0.0.1: those of MLFLOW_TRACKING_URI, else of mlflow.db."""

import os
import socket
import sys

from mosaic_pipeline.arguments import CommandParser
from mosaic_pipeline.command import run_command
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import root
from mosaic_pipeline.redact import redacted

HOST = "127.0.0.1"


def main() -> None:
    """Become `mlflow ui`, or say where the runs are to be seen if a server has them."""
    parser = CommandParser("ui", __doc__)
    parser.add_argument("--port", type=int, default=5000, help="of 127.0.0.1; default: 5000")
    port = parser.parse_args().port
    store = os.environ.get("MLFLOW_TRACKING_URI")
    if store and store.startswith(("http://", "https://")):
        print(f"MLFLOW_TRACKING_URI is a server, which shows its runs itself: {redacted(store)}")
        return
    if not store:
        database = root() / "mlflow.db"
        if not database.exists():
            raise PipelineError(f"{database}: no runs yet; `dvc repro` makes some")
        from mosaic_pipeline.tracking.anchor import follow

        follow(root(), timeout=10)
        store = f"sqlite:///{database.as_posix()}"
    _check_free(port)
    print(f"the runs in {redacted(store)} are at http://{HOST}:{port} (Ctrl-C ends it)", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--host", HOST, "--port", str(port)]
    # Not as an argument, which everybody on the machine can read: it may hold a password.
    os.execve(command[0], command, os.environ | {"MLFLOW_BACKEND_STORE_URI": store})


def _check_free(port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PipelineError(f"port {port} of {HOST}: {reason}; take another one: make ui PORT=5001") from None


if __name__ == "__main__":
    run_command(main)
