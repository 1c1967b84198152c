"""A training that is started by its command, interrupted, and started again."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from small import read_until

KILL = Path(__file__).parent / "kill.py"


def start(folder: Path, environment: Mapping[str, str], *command: str) -> subprocess.Popen:
    """Start a command in a folder; all that it prints is its `stdout`."""
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@dataclass(frozen=True)
class Training:
    """A training stage with its arguments, in a folder that has all that it reads; `outputs` go to `results`.

    In `environment` Python has to print unbuffered: lines tell when to interrupt.
    """

    folder: Path
    environment: Mapping[str, str]
    stage: tuple[str, ...]
    results: Path
    outputs: tuple[str, ...]

    def finish(self) -> str:
        """Run it to its end and return what it printed."""
        process = self._start("-m")
        printed, _ = process.communicate()
        assert process.returncode == 0, printed
        return printed

    def interrupt(self, signum: int, after: str | None = None, delay: float = 0) -> tuple[int, str]:
        """Start it and send a signal, `delay` seconds after a line that starts so; return status and output.

        Without `after`, send it once there is a new checkpoint: an interrupted training writes its first before any
        step.
        """
        before = self.checkpoints()
        process = self._start("-m")
        printed = ""
        if after:
            printed = read_until(process, after)
        else:
            while process.poll() is None and self.checkpoints() <= before:
                time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signum)
        rest, _ = process.communicate()
        return process.returncode, printed + rest

    def kill(self, checkpoints: int) -> tuple[int, str]:
        """Start it, and have it killed by SIGKILL as soon as it has written so many checkpoints, one after each visit.

        Return status and output.
        """
        process = self._start(str(KILL), str(checkpoints))
        printed, _ = process.communicate()
        return process.returncode, printed

    def digests(self) -> dict[str, str]:
        """Return the md5 of each output."""
        return {name: hashlib.md5((self.results / name).read_bytes()).hexdigest() for name in self.outputs}

    def checkpoints(self) -> set[Path]:
        """Return the checkpoints that are there, of this training or any."""
        return set((self.folder / ".cache/checkpoints").glob("*/[0-9]*.safetensors"))

    def _start(self, *how: str) -> subprocess.Popen:
        return start(self.folder, self.environment, sys.executable, *how, *self.stage)
