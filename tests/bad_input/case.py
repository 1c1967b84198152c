"""A case: a command run in a copy of a finished project that something is wrong with, and how it has to end."""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finished import Ended, run_stage, write_params

# What a stage may write although it is refused: a run that failed, and locks.
ASIDE = ("mlflow.db", "mlartifacts", ".cache/mlflow.lock")

Damage = Callable[[Path], AbstractContextManager | None]


def nothing(project: Path) -> None:
    """Leave the project as it is: what is wrong is in the command, the parameters or the environment."""


@dataclass(frozen=True)
class Case:
    """What is wrong, the command that meets it, and the parts that its one line must hold.

    `command` is what follows `python -m stages.`, or begins with `mosaic`. `damage` spoils the copy of the project; it
    may return a context manager, such as a server, that is entered while the command runs. `params` are values by
    dotted key, `environment` variables. `says` are parts of the line, in any order: what is wrong, and the way out.
    With `status` 0 the input is accepted, `says` is looked for in all that is printed, and `then` may look at what was
    written.
    """

    name: str
    command: str
    damage: Damage = nothing
    says: tuple[str, ...] = ()
    status: int = 2
    params: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    then: Callable[[Path], None] | None = None


def check(case: Case, finished: Path, folder: Path) -> None:
    """Run a case in `folder`, a copy of the `finished` project; an AssertionError says what is not as it should be."""
    assert case.says, "a case says what its line must hold"
    project = copy(finished, folder)
    if case.params:
        write_params(project, case.params)
    with case.damage(project) or nullcontext():
        before = contents(project)
        ended = run_stage(project, case.command, case.environment)
        after = contents(project)
    assert not ended.traceback, ended.traceback
    assert "Traceback" not in ended.stderr
    assert ended.status == case.status, f"exit status {ended.status}: {ended.stdout}{ended.stderr}"
    if case.status == 0:
        said = ended.stdout + ended.stderr
    else:
        (said,) = error_lines(ended)
        assert said.startswith("error: ") or ": error: " in said, said  # argparse puts the command's name in front
        assert changes(before, after) == [], "a refused command changed files"
    assert [part for part in case.says if part not in said] == [], said
    if case.then:
        case.then(project)


def error_lines(ended: Ended) -> list[str]:
    """Lines on stderr but for warnings, and for argparse's lines on usage."""
    lines = ended.stderr.splitlines()
    usage = any(line.startswith("usage: ") for line in lines)
    aside = ("warning: ", "usage: ", " ") if usage else ("warning: ",)
    return [line for line in lines if not line.startswith(aside)]


def copy(finished: Path, folder: Path) -> Path:
    """Copy a project, every file with bytes of its own, so that a damage may write in place."""
    shutil.copytree(finished, folder, symlinks=True)
    return folder


def contents(project: Path) -> dict[str, str]:
    """What stands at every path below the project: a digest of a file's bytes and mode, or what kind of thing it is."""
    found = {}
    for path in sorted(project.rglob("*")):
        name = path.relative_to(project).as_posix()
        if name.startswith(ASIDE):
            continue
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        elif path.is_file():
            found[name] = f"{path.stat().st_mode:o} {_digest(path)}"
        else:
            found[name] = f"folder {path.stat().st_mode:o}" if path.is_dir() else "special file"
    return found


def _digest(path: Path) -> str:
    try:
        return hashlib.md5(path.read_bytes()).hexdigest()
    except PermissionError:
        return f"{path.stat().st_size} bytes from {path.stat().st_mtime_ns}"


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Paths that are gone, new or other."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
