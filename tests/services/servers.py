"""Servers that a group runs, started on this machine for a test: PostgreSQL, MLflow's and one that speaks S3."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from needs import needs

HOST = "127.0.0.1"
ADMIN = "admin"
# MLflow's own way to ask for names and passwords. Who may see a run may add to it, else only whoever came first could.
AUTHENTICATION = """[mlflow]
default_permission = EDIT
database_uri = {store}
admin_username = {admin}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


@contextmanager
def postgresql() -> Iterator[str]:
    """Start a PostgreSQL of its own, with one user and a password, and yield the database's URI."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(path) for path in [shutil.which("initdb")] if path
    ]
    needs(found, "no PostgreSQL here (Debian's package is called postgresql)")
    programs, port, password = found[-1].parent, free_port(), secrets.token_hex(8)
    # Not below pytest's folder, which nobody else may enter: PostgreSQL refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    (folder / "password").write_text(password)
    owner = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        owner = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        for path in (folder, folder / "password"):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(folder / "data"), *arguments]
        with folder.with_suffix(".log").open("ab") as log:
            done = subprocess.run(command, cwd=folder, stdout=log, stderr=log, **owner)
        assert done.returncode == 0, folder.with_suffix(".log").read_text()

    try:
        run("initdb", "-U", "mlflow", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync")
        settings = f"-p {port} -c listen_addresses={HOST} -c unix_socket_directories='' -c fsync=off"
        run("pg_ctl", "-w", "-t", "120", "-l", str(folder / "log"), "-o", settings, "start")
        try:
            yield f"postgresql+psycopg://mlflow:{password}@{HOST}:{port}/postgres"
        finally:
            run("pg_ctl", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)
        folder.with_suffix(".log").unlink()


@contextmanager
def answering(command: list[str], url: str, log: Path, environment: Mapping[str, str] = {}) -> Iterator[None]:
    """Run a server until the block ends, which begins once the server answers at `url`."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "AWS_"))}
    with log.open("wb") as written:
        server = subprocess.Popen(
            command,
            cwd=log.parent,
            env=inherited | environment,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 300
        while not _answers(url):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        os.killpg(server.pid, 9)  # with its workers; nothing of what it keeps is needed any more
        server.wait()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=10):
            return True
    except HTTPError:
        return True
    except OSError:
        return False


@contextmanager
def mlflow_server(store: str, folder: Path, password: str) -> Iterator[str]:
    """Start `mlflow server` as docs/group.md does, artifacts in `folder`, and yield its address, without a user."""
    (folder / "auth.ini").write_text(AUTHENTICATION.format(store=store, admin=ADMIN))
    port = free_port()
    environment = {
        "MLFLOW_BACKEND_STORE_URI": store,
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    with answering(command, f"http://{HOST}:{port}/health", folder / "mlflow.log", environment):
        yield f"http://{HOST}:{port}"


@contextmanager
def s3(folder: Path, bucket: str) -> Iterator[str]:
    """Start a server that speaks S3 (moto's) with one bucket, for whatever key is shown, and yield its address."""
    needs(find_spec("moto") and find_spec("dvc_s3"), "no moto or no dvc-s3 here (requirements-dev.txt has them)")
    port = free_port()
    url = f"http://{HOST}:{port}"
    with answering([sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)], url, folder / "s3.log"):
        with urlopen(Request(f"{url}/{bucket}", method="PUT"), timeout=60):
            pass
        yield url
