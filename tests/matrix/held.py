"""A project whose trainings wait until a test lets them go on, so that all happens to them at a known moment."""

import os
from pathlib import Path

from slurm import wait_for
from small import Repository

HOOKS = Path(__file__).parent / "hooks"


class Held:
    """A project, and the folder by which its trainings are held (hooks/sitecustomize.py)."""

    def __init__(self, project: Repository, hooks: Path) -> None:
        self.project, self.hooks = project, hooks
        for name in ("hold", "held", "fail"):
            (hooks / name).mkdir(parents=True)
        paths = [str(HOOKS), project.environment["PYTHONPATH"]]
        project.environment |= {"MOSAIC_TEST_HOOKS": str(hooks), "PYTHONPATH": os.pathsep.join(paths)}

    def matrix(self, *arguments: str, fails: bool = False) -> str:
        return self.project.run("python", "-m", "stages.matrix", *arguments, fails=fails)

    def hold(self, *cells: str) -> None:
        for cell in cells:
            (self.hooks / "hold" / f"train@{cell}").touch()

    def release(self, cell: str) -> None:
        (self.hooks / "hold" / f"train@{cell}").unlink()

    def wait_until_held(self, *cells: str) -> list[str]:
        """Wait until a process holds each of these trainings, other than when this was asked before.

        Return which GPUs they see.
        """
        marks = [self.hooks / "held" / f"train@{cell}" for cell in cells]
        wait_for(lambda: all(mark.exists() and mark.read_text() for mark in marks), f"{cells} to be held")
        seen = [mark.read_text() for mark in marks]
        for mark in marks:
            mark.unlink()
        return seen

    def states(self) -> dict[str, str]:
        """How cells stand, by name."""
        lines = [line.split() for line in self.matrix("status").splitlines()[:-1]]
        return {name: state for _, name, state, *_ in lines}

    def folders(self) -> list[str]:
        """Clones of cells that are there."""
        return sorted(path.name for path in self.project.folder.glob(".cache/matrix/*/work/*"))
