"""What an interrupted training continues from: outside DVC's outputs, named by everything that determines the run.

DVC keeps an output with `persist` for later experiments too, which would then silently continue a finished model of
other parameters. A folder under `.cache/checkpoints/` that is named by content cannot do that.
"""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mosaic_pipeline.atomic import atomic, write_text
from mosaic_pipeline.code import code_digest
from mosaic_pipeline.digest import md5_text
from mosaic_pipeline.errors import one_line
from mosaic_pipeline.layout import root

KEPT = 2
# The tensor that holds values: a header of safetensors is limited, and the history grows with the rounds.
VALUES = "values"
RESULT = "result"
DIGEST = "digest"
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
            kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            kept[VALUES] = torch.frombuffer(bytearray(json.dumps(values).encode()), dtype=torch.uint8)
            # Not `save_file`, which reports a full disk as an error of the format.
            temporary.write_bytes(save(kept, metadata={DIGEST: _digest(kept)}))
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

    def load(
        self, check: Callable[[dict[str, Tensor], dict[str, Any]], None] = lambda tensors, values: None
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and values of the newest checkpoint that is whole and passes `check`, None if there is none.

        `check` raises ValueError for what training cannot continue from. Such a checkpoint and a damaged one are named
        on stderr, set aside, and passed over for the one before.
        """
        files = self._files()
        for number, file in enumerate(files):
            try:
                tensors, values = _read(file)
                check(tensors, values)
            except (SafetensorError, OSError, LookupError, AttributeError, TypeError, ValueError) as error:
                then = "using the one before it" if number + 1 < len(files) else "training starts from the beginning"
                print(one_line(f"warning: {file}: damaged checkpoint ({error}); {then}"), file=sys.stderr)
                # By its name it would stay among the newest, and push those out that are written from now on.
                file.replace(file.with_suffix(".damaged"))
            else:
                return tensors, values
        return None

    def clear(self) -> None:
        """Delete all of them: the training is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def result(self) -> dict[str, Any] | None:
        """What the training came to, where a stage of several trainings has kept that; else None.

        A damaged one is named on stderr and counts as none.
        """
        file = self._result_file
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept[DIGEST] != md5_text(json.dumps(kept[RESULT])):
                raise ValueError("not the bytes that were written")
            return kept[RESULT]
        except FileNotFoundError:
            return None
        except (OSError, KeyError, TypeError, ValueError) as error:
            print(one_line(f"warning: {file}: damaged result ({error}); training again"), file=sys.stderr)
            return None

    def keep_result(self, result: Mapping[str, Any]) -> None:
        """Keep what the training came to until its stage is done, so that a killed stage does not repeat it."""
        write_text(self._result_file, json.dumps({RESULT: result, DIGEST: md5_text(json.dumps(result))}))

    def forget_result(self) -> None:
        """Delete it: the stage is done."""
        self._result_file.unlink(missing_ok=True)

    @property
    def _result_file(self) -> Path:
        return self.folder.with_suffix(".json")

    def _files(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("[0-9]*.safetensors"), reverse=True)


def _read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and values of a checkpoint; raises one of several errors if it is not what was written."""
    with safe_open(file, framework="pt") as saved:
        tensors = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
        if (saved.metadata() or {}).get(DIGEST) != _digest(tensors):
            raise ValueError("not the bytes that were written")
    return tensors, json.loads(tensors.pop(VALUES).numpy().tobytes())


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a check sum over names, shapes, dtypes and values of contiguous tensors on the CPU."""
    digest = hashlib.sha256()  # 30 ms for the default's 42 MB
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def checkpoint_folder(determinants: Mapping[str, str | int], stage: str = "train") -> Path:
    """Return `<root>/.cache/checkpoints/<hash>` for everything that determines a training.

    The code of the stage is added to `determinants`. The root is DVC's main repository, also in the temporary copy in
    which a queued experiment runs, so that a second attempt finds what the first one left.
    """
    determinants = {**determinants, "code": code_digest(stage)}
    key = hashlib.sha256(json.dumps(determinants, sort_keys=True).encode()).hexdigest()
    return root() / ".cache" / "checkpoints" / key[:32]
