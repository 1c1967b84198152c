"""What git knows of a checkout: files of other revisions, experiments, and what was changed since the last commit."""

import hashlib
import re
import subprocess
from datetime import datetime, timezone
from functools import cache
from pathlib import Path

EXPERIMENTS = "refs/exps"
COMMITS = 100  # of a file that are looked into, the newest
# An experiment lies under the commit that it began with; beside those DVC keeps what is none.
EXPERIMENT = rf"{EXPERIMENTS}/[0-9a-f]{{2}}/[0-9a-f]{{38}}/(?P<name>.+)"


def run_git(root: Path, *arguments: str) -> bytes | None:
    """Return what a git command prints in this folder; None if it fails, outside git, and without git."""
    try:
        result = subprocess.run(("git", *arguments), cwd=root, capture_output=True)
    except OSError:
        return None
    return result.stdout if result.returncode == 0 else None


def ask(root: Path, *arguments: str) -> str:
    """Return what a git command prints, without its last line end; nothing if it fails."""
    return (run_git(root, *arguments) or b"").decode(errors="replace").rstrip("\n")


def file_at(root: Path, revision: str, name: str) -> bytes | None:
    """Return a file's bytes as committed, by its path below `root`; None if the revision has none."""
    return run_git(root, "show", f"{revision}:./{name}")


def commit_of(root: Path, name: str) -> str | None:
    """Return the hash of the commit that a revision, branch or tag names; None if it names none."""
    if name.startswith("-"):
        return None
    return ask(root, "rev-parse", "-q", "--verify", f"{name}^{{commit}}") or None


def experiments(root: Path) -> dict[str, str]:
    """Return the commits of DVC's experiments by name; of those that share a name, the latest."""
    listed = ask(root, "for-each-ref", "--sort=creatordate", "--format=%(objectname) %(refname)", EXPERIMENTS)
    found = {}
    for line in listed.splitlines():
        commit, _, name = line.partition(" ")
        if named := re.fullmatch(EXPERIMENT, name):
            found[named["name"]] = commit
    return found


def changed_code(root: Path) -> list[str]:
    """Return the tracked files of code and parameters that differ from the last commit."""
    from mosaic_pipeline.tracking.revision import NOT_CODE  # its package takes what a trace does without

    excluded = (f":(top,exclude){path}" for path in NOT_CODE)
    listed = ask(root, "diff", "--name-only", "HEAD", "--", ":/", *excluded)
    return listed.splitlines()


def commits_with(root: Path, name: str, text: str) -> list[str]:
    """Return the commits, of whichever branch or experiment, that brought or took a text in a file; newest first."""
    return ask(root, "log", "--all", "--format=%H", f"-S{text}", "--", name).splitlines()


@cache
def commit_with(root: Path, name: str, md5: str) -> str | None:
    """Return the newest commit, of whichever branch or experiment, in which a file has this md5; None if none has."""
    commits = ask(root, "log", "--all", "--format=%H", f"-{COMMITS}", "--", name).splitlines()
    versions = ((commit, file_at(root, commit, name)) for commit in commits)
    return next((commit for commit, data in versions if data and hashlib.md5(data).hexdigest() == md5), None)


def committed_at(root: Path, commit: str) -> str:
    """Return the date of a commit (ISO 8601, UTC); nothing if it is not here."""
    seconds = ask(root, "show", "-s", "--format=%ct", commit)
    return datetime.fromtimestamp(int(seconds), timezone.utc).isoformat() if seconds.isdigit() else ""
