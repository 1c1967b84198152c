"""Clones of the main checkout: DVC in a checkout is for one host at a time, so each process works in one of its own.

They use the main checkout's DVC cache, through which results travel.
"""

import configparser
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import Timeout

from mosaic_pipeline.atomic import appearing
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.matrix.plan import Plan
from mosaic_pipeline.matrix.process import run_passing_signals


def clone(plan: Plan, source: Path, folder: Path) -> None:
    """Clone the commit from a checkout into `folder`, with the main checkout's DVC cache and configuration.

    The folder is there once it is whole.
    """
    with appearing(folder) as partial:
        _checked(["git", "clone", "--quiet", "--shared", "--no-tags", "--no-checkout", str(source), str(partial)])
        _checked(["git", "-C", str(partial), "checkout", "--quiet", "--detach", plan.commit])
        _configure(plan, partial)


def keep_commit(plan: Plan) -> None:
    """Have git keep the commit while its clones need it, whatever becomes of the branch."""
    _checked(["git", "-C", str(plan.root), "update-ref", f"refs/mosaic/{plan.revision[:12]}", plan.commit])


def _configure(plan: Plan, folder: Path) -> None:
    """Give a clone the main checkout's local configuration of DVC, and its cache."""
    parser, own = configparser.ConfigParser(interpolation=None, strict=False), plan.root / ".dvc" / "config.local"
    try:
        parser.read(own, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise PipelineError(f"{own}: not a configuration of DVC's: {error}; mend it, or delete it") from None
    if not parser.has_section("cache"):
        parser.add_section("cache")
    parser["cache"]["dir"] = f'"{plan.cache}"'  # DVC would end it at a `#`
    place = folder / ".dvc" / "config.local"
    # It may hold the keys of a remote.
    with open(place, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        parser.write(file)


@contextmanager
def throwaway(plan: Plan, name: str) -> Iterator[Path]:
    """Yield a clone of the commit, beside the cache so that files can be links, that is deleted in the end.

    What an earlier attempt left that was killed is deleted first. The caller holds the lock of this name.
    """
    folder = plan.folder / "work" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        clone(plan, plan.prepared, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(plan: Plan) -> None:
    """Delete the clones of attempts that were killed, which nobody holds the lock of any more."""
    for folder in (plan.folder / "work").iterdir() if (plan.folder / "work").exists() else ():
        name = folder.name.removeprefix(".").removesuffix(".partial")
        with suppress(Timeout), plan.lock(name).acquire(timeout=0):
            shutil.rmtree(folder, ignore_errors=True)


def run_stages(plan: Plan, folder: Path, made: Sequence[str], wanted: Sequence[str], *options: str) -> tuple[int, str]:
    """Have DVC run stages in a clone one by one, the results of others in place; return as `run_passing_signals`.

    `options` are of `dvc repro`.
    """
    command = [sys.executable, "-m", "mosaic_pipeline.matrix.inside", *made, "--", *options, *wanted]
    environment = plan.environment()
    paths = [str(folder / "pipeline"), *filter(None, [environment.get("PYTHONPATH")])]  # the clone's own library first
    return run_passing_signals(command, folder, environment | {"PYTHONPATH": os.pathsep.join(paths)})


def _checked(command: list[str], **options: Any) -> None:
    """Run a command. Raises PipelineError with its last line if it fails."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if result.returncode:
        said = result.stdout.strip().splitlines() or [f"exit status {result.returncode}"]
        raise PipelineError(f"{' '.join(command[:2])}: {said[-1]}")
