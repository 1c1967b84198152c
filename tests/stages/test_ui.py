import os
import socket
import sqlite3
import sys

import pytest

from mosaic_pipeline.commands import ui
from mosaic_pipeline.errors import PipelineError


@pytest.fixture
def start(tmp_path, monkeypatch, capsys):
    """Run the command in a folder with an mlflow.db; return what it becomes (None: nothing) and what it printed."""
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI", "DVC_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect("mlflow.db") as connection:
        connection.execute("CREATE TABLE experiments (artifact_location TEXT)")
        connection.execute("INSERT INTO experiments VALUES ('file:///gone/mosaic/mlartifacts')")

    def run(*arguments):
        became = []
        monkeypatch.setattr(os, "execve", lambda *call: became.append(call))
        monkeypatch.setattr(sys, "argv", ["ui", *arguments])
        ui.main()
        return became[0] if became else None, capsys.readouterr().out

    return run


@pytest.fixture
def free_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    return str(port)


def test_the_runs_of_this_checkout_are_shown_on_the_loopback_at_the_port_that_is_asked_for(start, tmp_path, free_port):
    (_, command, environment), printed = start("--port", free_port)
    assert command[1:4] == ["-m", "mlflow", "ui"]
    assert dict(zip(command[4::2], command[5::2], strict=True)) == {"--host": "127.0.0.1", "--port": free_port}
    assert environment["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path}/mlflow.db"
    assert f"http://127.0.0.1:{free_port}" in printed


def test_a_moved_checkout_is_followed_before_its_runs_are_shown(start, tmp_path, free_port):
    start("--port", free_port)
    with sqlite3.connect("mlflow.db") as connection:
        assert list(connection.execute("SELECT * FROM experiments")) == [((tmp_path / "mlartifacts").as_uri(),)]


def test_a_database_of_ones_own_is_shown_and_its_password_is_not(start, monkeypatch, free_port):
    uri = "postgresql://ada:se@cret@host/runs"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (_, command, environment), printed = start("--port", free_port)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == uri
    assert "cret" not in " ".join(command) + printed
    assert "postgresql://host/runs" in printed


def test_a_server_is_named_and_nothing_is_started(start, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:secret@mlflow.example.org/team")
    became, printed = start()
    assert became is None
    assert printed.endswith(": https://mlflow.example.org/team\n")


def test_without_runs_it_says_what_makes_some_and_creates_nothing(start, tmp_path):
    (tmp_path / "mlflow.db").unlink()
    with pytest.raises(PipelineError, match=r"mlflow\.db: no runs yet; `dvc repro` makes some"):
        start()
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_or_none_is_one_line_with_the_way_to_take_another(start, free_port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(free_port)))
        other.listen()
        with pytest.raises(PipelineError, match=f"port {free_port} of 127.0.0.1: .* in use; .* make ui PORT="):
            start("--port", free_port)
    with pytest.raises(PipelineError, match=r"port 99999 of 127\.0\.0\.1: .*; .* make ui PORT="):
        start("--port", "99999")
