import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def make(tmp_path):
    """Run a target of the Makefile in a folder outside git, with an installed environment whose `dvc` only speaks."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    tools = tmp_path / ".venv/bin"
    tools.mkdir(parents=True)
    for name in ("dvc", "mosaic"):
        (tools / name).write_text(f'#!/bin/sh\necho "ran {name} $*"\n')
        (tools / name).chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "MAKE", "PORT"))}
    environment["GIT_CEILING_DIRECTORIES"] = str(tmp_path.parent)

    def run(*arguments):
        command = ["make", "-o", ".venv/.installed", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


def test_without_git_it_says_so_in_one_line_with_the_ways_that_work(make, tmp_path):
    refused = make("repro")
    assert refused.returncode != 0
    line, _ = refused.stdout.splitlines() + refused.stderr.splitlines()[:1]  # the other one is make's own
    assert line.startswith("error: no git repository here, which DVC needs: `git init`")
    assert "ran dvc" not in refused.stdout
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")  # what `dvc config core.no_scm true` writes
    assert "ran dvc repro" in make("repro").stdout


def test_in_a_git_repository_it_runs_the_pipeline(make, tmp_path):
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    done = make("repro")
    assert done.returncode == 0, done.stderr
    assert "ran dvc repro" in done.stdout


@pytest.mark.parametrize(("arguments", "port"), [((), "5000"), (("PORT=5001",), "5001")])
def test_the_runs_are_shown_at_the_port_that_is_asked_for(make, arguments, port):
    assert make("ui", *arguments).stdout == f"ran mosaic ui --port {port}\n"
