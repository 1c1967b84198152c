"""What an interrupted training continues from: outside DVC's outputs, named by everything that determines the run.

DVC keeps an output with `persist` for later experiments too, which would then silently continue a finished model of
other parameters. A folder under `.cache/checkpoints/` that is named by content cannot do that.
"""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.atomic import atomic, write_text
from pipeline.code import code_digest
from pipeline.layout import root

KEPT = 2
VALUES = "values"
# Training waits for a checkpoint at most this share of the time.
LARGEST_SHARE = 0.05


class Checkpoints:
    """The newest checkpoints of one training, each one safetensors file that appears whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which need not exist."""
        self.folder = folder
        self._due = 0.0

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Write a checkpoint, named by its step, and drop all but the last two."""
        started = time.monotonic()
        with atomic(self.folder / f"{values['step']:012d}.safetensors") as temporary:
            contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
            # Not `save_file`, which reports a full disk as an error of the format.
            temporary.write_bytes(save(contiguous, metadata={VALUES: json.dumps(values)}))
        for old in self._files()[KEPT:]:
            old.unlink(missing_ok=True)
        now = time.monotonic()
        self._due = now + (now - started) / LARGEST_SHARE

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the folder for this process; wait, saying so, while another one trains exactly the same."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{self.folder}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print("another process trains the same model with the same data and seed; waiting for it", flush=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @property
    def due(self) -> bool:
        """Whether enough time went by since the last one for the next to cost little beside the training."""
        return time.monotonic() >= self._due

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and values of the newest checkpoint that can be read, None if there is none.

        A damaged one is named on stderr and passed over for the one before it.
        """
        for file in self._files():
            try:
                with safe_open(file, framework="pt") as saved:
                    values = json.loads(saved.metadata()[VALUES])
                    return {name: saved.get_tensor(name) for name in saved.keys()}, values  # noqa: SIM118
            except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
                print(f"warning: {file}: damaged checkpoint ({error}); using the one before it", file=sys.stderr)
        return None

    def clear(self) -> None:
        """Delete all of them: the training is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def result(self) -> dict[str, Any] | None:
        """What the training came to, where a stage of several trainings has kept that; else None."""
        file = self._result_file
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def keep_result(self, result: Mapping[str, Any]) -> None:
        """Keep what the training came to until its stage is done, so that a killed stage does not repeat it."""
        write_text(self._result_file, json.dumps(result))

    def forget_result(self) -> None:
        """Delete it: the stage is done."""
        self._result_file.unlink(missing_ok=True)

    @property
    def _result_file(self) -> Path:
        return self.folder.with_suffix(".json")

    def _files(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("[0-9]*.safetensors"), reverse=True)


def checkpoint_folder(determinants: Mapping[str, str | int]) -> Path:
    """Return `<root>/.cache/checkpoints/<hash>` for everything that determines a training.

    The code that trains is added to `determinants`. The root is DVC's main repository, also in the temporary copy in
    which a queued experiment runs, so that a second attempt finds what the first one left.
    """
    determinants = {**determinants, "code": code_digest("train")}
    key = hashlib.sha256(json.dumps(determinants, sort_keys=True).encode()).hexdigest()
    return root() / ".cache" / "checkpoints" / key[:32]
