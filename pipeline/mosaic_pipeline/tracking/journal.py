"""What a run hands over to MLflow, on the disk before it is sent: what an outage or a kill leaves is sent later.

A process has a journal for each run that it makes or continues, in `<root>/.cache/tracking/journals/`, and holds its
lock for as long as it lives, on whatever host. A journal whose lock is free was left behind; anybody may send it.
"""

import json
import os
import shutil
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from mosaic_pipeline.tracking.operations import End, Operation, Points, checked, decode, encode

FOLDER = Path(".cache/tracking")
LARGEST_COPY = 256 << 20  # bytes of an artifact; of a larger one the path is kept


@dataclass(frozen=True)
class Header:
    """Whose journal it is: `store` is a URI without credentials, empty for the project's own mlflow.db."""

    store: str
    experiment: str
    name: str
    session: str


@dataclass(frozen=True)
class Entry:
    """An operation and the place in the file behind it; None is a line that cannot be read."""

    operation: Operation | None
    end: int


@dataclass
class State:
    """How far a journal was sent: up to this place, and what the store has made of the run."""

    end: int = 0
    run_id: str | None = None
    model_id: str | None = None
    system_base: int = 0
    ended: bool = False


@dataclass
class Journal:
    """A journal that this process alone may write and send; `pending` is what the store does not have yet."""

    folder: Path
    header: Header
    lock: BaseFileLock
    state: State = field(default_factory=State)
    pending: deque[Entry] = field(default_factory=deque)
    damaged: int = 0
    _torn: bool = False

    @classmethod
    def create(cls, root: Path, store: str, experiment: str, name: str) -> "Journal":
        """Begin one; raises OSError where it cannot be written."""
        session = f"local-{uuid.uuid4().hex}"
        folder = journals(root) / f"{time.time_ns():020d}-{session}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        journal = cls(folder, Header(store, experiment, name, session), _lock(folder))
        journal.lock.acquire(timeout=0)
        folder.mkdir()
        header = json.dumps(asdict(journal.header)) + "\n"
        (folder / "header.json").write_text(header, encoding="utf-8")
        return journal

    @classmethod
    def take(cls, folder: Path, wanted: Callable[[Header], bool]) -> "Journal | None":
        """Take one that was left behind, if it is `wanted`; None if a process has it, or nothing is in it.

        Of a process that was killed it gets the end that the process could not give it. Raises ValueError, and leaves
        it, if nobody knows whose it is, and what the system raises if it cannot be read or locked.
        """
        lock = _lock(folder)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        try:
            if not (folder / "journal.jsonl").exists():
                shutil.rmtree(folder, ignore_errors=True)
                _forget(lock, folder)
                return None
            header = read_header(folder)
            if wanted(header):
                journal = cls(folder, header, lock, _read_state(folder))
                journal._load()
                return journal
        except BaseException:
            lock.release()
            raise
        lock.release()
        return None

    def append(self, operation: Operation) -> OSError | None:
        """Add an operation, on the disk if that takes it; else return why not: it is sent from memory then.

        A killed process loses none: the system has it. Only a machine that fails within seconds may lose some.
        """
        line = ("\n" if self._torn else "") + encode(operation) + "\n"
        place = self.folder / "journal.jsonl"
        failed = None
        try:
            _write(place, line)
            self._torn = False
        except OSError as error:
            self._torn, failed = True, error
        end = self.pending[-1].end if self.pending else self.state.end
        with suppress(OSError):
            end = place.stat().st_size
        self.pending.append(Entry(operation, end))
        return failed

    def keep(self, path: Path) -> str | None:
        """Copy a file into the journal and return its name there; None if it is too large, or cannot be copied."""
        name = f"{uuid.uuid4().hex[:8]}/{path.name}"
        target = self.folder / "artifacts" / name
        try:
            if path.stat().st_size > LARGEST_COPY:
                return None
            target.parent.mkdir(parents=True)
            shutil.copyfile(path, target)
        except OSError:
            shutil.rmtree(target.parent, ignore_errors=True)
            return None
        return name

    def sent(self, entries: int) -> None:
        """Note that the first `entries` of what was pending are with the store, and what that made of the run."""
        for _ in range(entries):
            self.state.end = self.pending.popleft().end
        with suppress(OSError):  # they are sent again then, which changes nothing
            _write(self.folder / "sent.jsonl", json.dumps(asdict(self.state)) + "\n")

    @property
    def points(self) -> int:
        """How many points are pending."""
        return sum(len(each.operation.points) for each in tuple(self.pending) if isinstance(each.operation, Points))

    def remove(self) -> None:
        """Delete it: all is with the store."""
        shutil.rmtree(self.folder, ignore_errors=True)
        _forget(self.lock, self.folder)

    def set_aside(self, root: Path) -> Path:
        """Move it to where nobody sends it any more, and return that place."""
        return set_aside(self.folder, root, self.lock)

    def release(self) -> None:
        """Let others have it."""
        self.lock.release()

    def _load(self) -> None:
        file = self.folder / "journal.jsonl"
        last = file.stat().st_mtime
        for operation, end in _operations(file.read_bytes(), self.state.end):
            self.pending.append(Entry(operation, end))
            self.damaged += operation is None
        if not self.state.ended and not any(isinstance(each.operation, End) for each in self.pending):
            end = self.pending[-1].end if self.pending else self.state.end
            self.pending.append(Entry(End("FAILED", int(last * 1000), "killed"), end))


def journals(root: Path) -> Path:
    """Return the folder of the journals."""
    return root / FOLDER / "journals"


def all_journals(root: Path) -> list[Path]:
    """Return the folders of all journals, the oldest first."""
    try:
        return sorted(path for path in journals(root).iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def read_header(folder: Path) -> Header:
    """Read whose journal one is; raises ValueError if that is unknown."""
    try:
        header = checked(Header(**json.loads((folder / "header.json").read_text(encoding="utf-8"))))
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} is no journal") from error
    return header


def set_aside(folder: Path, root: Path, lock: BaseFileLock | None = None) -> Path:
    """Move a journal to where nobody sends it any more, and return that place."""
    place = root / FOLDER / "gone" / folder.name
    place.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        folder.replace(place)
    if lock:
        _forget(lock, folder)
    return place


def runs_of(folder: Path) -> set[str]:
    """Return the ids by which the run of a journal may be known, as far as they can be told."""
    found: set[str | None] = {folder.name.partition("-")[2]}
    with suppress(OSError):
        found.add(_read_state(folder).run_id)
        with open(folder / "journal.jsonl", "rb") as file:
            begin, _ = next(_operations(file.readline(), 0), (None, 0))
        found.add(getattr(begin, "run_id", None))
    return {each for each in found if each}


def _lock(folder: Path) -> BaseFileLock:
    return FileLock(f"{folder}.lock", thread_local=False)


def _forget(lock: BaseFileLock, folder: Path) -> None:
    with suppress(OSError):
        Path(f"{folder}.lock").unlink()
    lock.release()


def _operations(data: bytes, start: int) -> Iterator[tuple[Operation | None, int]]:
    """Yield the operations from a place in a journal on, each with the place behind it; None for a damaged line."""
    end = start
    for line in data[start:].splitlines(keepends=True):
        end += len(line)
        if line.strip():
            try:
                yield decode(line.decode()), end
            except (ValueError, TypeError, LookupError):
                yield None, end


def _read_state(folder: Path) -> State:
    """Return how far a journal was sent: by the last line that is whole."""
    with suppress(FileNotFoundError):
        for line in reversed((folder / "sent.jsonl").read_bytes().splitlines()):
            with suppress(ValueError, TypeError):
                values: dict[str, Any] = json.loads(line)
                state = checked(State(**values))
                if state.end >= 0:
                    return state
    return State()


def _write(place: Path, text: str) -> None:
    """Append to a file in one go, for the system to keep: neither a kill nor another writer cuts a line in two."""
    data = text.encode()
    descriptor = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        written = os.write(descriptor, data)
    finally:
        os.close(descriptor)
    if written != len(data):
        raise OSError("the disk is full")
