"""The finished project, a copy for each test, and the commands that read it."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from project import finish

from mosaic_pipeline.commands import share, trace
from mosaic_pipeline.errors import PipelineError


@dataclass(frozen=True)
class Traced:
    """What a trace came to: exit status, its lines, and the nodes of its tree by name, the first of each."""

    status: int
    lines: list[str]
    tree: dict[str, Any]

    @property
    def nodes(self) -> list[dict[str, Any]]:
        def walk(node: dict[str, Any]) -> list[dict[str, Any]]:
            return [node, *(each for part in node.get("parts", ()) for each in walk(part))]

        return walk(self.tree)

    def node(self, name: str, kind: str = "") -> dict[str, Any]:
        """The first node whose name or kind begins like this."""
        found = (n for n in self.nodes if n["name"].startswith(name) and n["kind"].startswith(kind))
        return next((n for n in found if not n.get("repeated")), {})

    def states(self, kind: str) -> set[str]:
        return {node["state"] for node in self.nodes if node["kind"] == kind}


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    return finish(tmp_path_factory.mktemp("made") / "project")


@pytest.fixture
def project(made, tmp_path, monkeypatch) -> Path:
    """A copy of the project, as the current directory."""
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "project"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run_command(monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """Run a command of `mosaic` here; return its exit status and what it printed."""

    def run(command: str, *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [f"mosaic {command}", *map(str, arguments)])
        capsys.readouterr()
        try:
            {"trace": trace, "share": share}[command].main()
        except SystemExit as ended:
            return int(ended.code or 0), capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


@pytest.fixture
def traced(run_command) -> Callable[..., Traced]:
    """Trace a thing, as text and as JSON, which must be of the same nodes."""

    def run(thing: object, *arguments: object) -> Traced:
        status, text = run_command("trace", thing, *arguments)
        again, printed = run_command("trace", thing, "--json")
        assert again == status
        found = json.loads(printed)
        assert text.splitlines()[-1] == ", ".join(f"{count} {state}" for state, count in found["states"].items())
        return Traced(status, text.splitlines(), found["tree"])

    return run


@pytest.fixture
def refused(run_command) -> Callable[..., str]:
    """The one line that refuses a command."""

    def run(command: str, *arguments: object) -> str:
        with pytest.raises(PipelineError) as error:
            run_command(command, *arguments)
        return str(error.value)

    return run
