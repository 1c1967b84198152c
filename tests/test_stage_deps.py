"""dvc.yaml against the code: a stage that DVC does not run again after a change of its code would show old results."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline.training.checkpoint import CODE

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# How a stage runs, writes and logs, not what it computes. Which of the parameters count, dvc.yaml lists by key.
NOT_WHAT = {
    *("pipeline/atomic.py", "pipeline/command.py", "pipeline/digest.py", "pipeline/errors.py", "pipeline/launch.py"),
    *("pipeline/layout.py", "pipeline/lineage.py", "pipeline/params.py", "pipeline/tracking"),
}


def imported(path: Path) -> Iterator[Path]:
    """Yield the project's files that a file imports, wherever in it, but for what only types need."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node in for_types:
            continue
        folder = ROOT / Path(*node.module.split("."))
        for candidate in (folder, *(folder / alias.name for alias in node.names)):
            if candidate.with_suffix(".py").is_file():
                yield candidate.with_suffix(".py")


def code_of(stage: str) -> set[str]:
    """All files of the project that a stage may run, from its command on."""
    todo, found = [ROOT / Path(*STAGES[stage]["cmd"].split()[2].split(".")).with_suffix(".py")], set()
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += imported(path)
    return {path.relative_to(ROOT).as_posix() for path in found}


def covered(file: str, paths: set[str]) -> bool:
    return any(path == file or file.startswith(f"{path}/") for path in paths)


def test_a_checkpoint_is_named_by_all_the_code_that_trains():
    named = {f"pipeline/{path}" for path in CODE}
    code = {file for file in code_of("train") if not file.startswith("stages/")}
    # How the processes are started, and what a checkpoint or a result is written with, is left out too.
    assert {file for file in code if not covered(file, named | NOT_WHAT)} == set()
    assert {path for path in named if not any(covered(file, {path}) for file in code)} == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_it_runs_and_on_no_other(stage):
    listed = {path for path in STAGES[stage]["deps"] if path.startswith(("pipeline/", "stages/"))}
    code = code_of(stage)
    assert {file for file in code if not covered(file, listed | NOT_WHAT)} == set()
    assert {path for path in listed if not any(covered(file, {path}) for file in code)} == set()
