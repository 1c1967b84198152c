"""Which code ran: the git revision of the working tree."""

import os
import subprocess
import tempfile
from pathlib import Path

# No part of what runs: what the pipeline itself writes into git, and what is only read.
NOT_CODE = ("dvc.lock", "reports", "README.md", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "docs", "tests")


def git_revision(folder: Path | None = None) -> str:
    """Return the last commit that changed code or parameters, with `-dirty` if tracked files differ from it.

    That of the checkout in `folder`, or of the current one. Commits of results and of documentation do not count, so
    that rendering a report anew after it was committed gives the same report. "unknown" outside git, and without a
    commit.
    """
    code = (":/", *(f":(top,exclude){path}" for path in NOT_CODE))
    with tempfile.TemporaryDirectory() as scratch:
        # An index of our own makes git compare contents. Its usual one goes by size and whole seconds, and misses what
        # DVC does for a queued experiment: it sets a parameter milliseconds after the checkout.
        index = Path(scratch) / "index"
        revision = _git(folder, index, "log", "-1", "--format=%H", "--", *code)
        if not revision:
            return "unknown"
        _git(folder, index, "read-tree", "HEAD")
        changes = _git(folder, index, "status", "--porcelain", "--untracked-files=no", "--", *code)
    return f"{revision}-dirty" if changes else revision


def _git(folder: Path | None, index: Path, *arguments: str) -> str:
    environment = os.environ | {"GIT_INDEX_FILE": str(index)}
    try:
        result = subprocess.run(("git", *arguments), cwd=folder, capture_output=True, text=True, env=environment)
    except OSError:  # git is not installed
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
