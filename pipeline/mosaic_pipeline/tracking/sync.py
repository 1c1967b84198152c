"""Journals that were left behind, sent at once: what an outage or a killed process kept from MLflow."""

import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.redact import HIDDEN, redacted
from mosaic_pipeline.tracking.delivery import left_behind
from mosaic_pipeline.tracking.journal import FOLDER, all_journals
from mosaic_pipeline.tracking.sending import Gone, Sending, Stuck, TakesTurns, lacking
from mosaic_pipeline.tracking.store import Store, connect, own_uri, reason, tracking_uri

PAUSE = 1  # seconds between tries of an operation that fails, at a store that is there


def sync(root: Path) -> Iterator[str]:
    """Send all journals of the checkout at `root` that no process writes any more, and say of each run what was sent.

    Those of the server that is chosen now are sent with its password; to others they go without one. Raises
    PipelineError, when all others are sent, if anything is left, with the servers and what is for them.
    """
    lock = FileLock(root / FOLDER / "sync.lock")
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield "another sync is at work; waiting for it"
        lock.acquire()
    try:
        yield from _sync(root)
    finally:
        lock.release()


def _sync(root: Path) -> Iterator[str]:
    stores: dict[tuple[str, str], list[Sending]] = defaultdict(list)
    untaken: set[Path] = set()
    for journal in left_behind(root, lambda header: True, untaken):
        stores[journal.header.store, journal.header.experiment].append(Sending(journal, root))
    ours = {sending.journal.folder for sendings in stores.values() for sending in sendings}
    alive = [folder for folder in all_journals(root) if folder not in ours | untaken]
    if alive:
        yield f"{len(alive)} run{'s' * (len(alive) > 1)} in progress: each sends its own"
    left: list[str] = []
    try:
        for (name, experiment), sendings in stores.items():
            why = yield from _send(root, name, experiment, sendings)
            waiting = [sending for sending in sendings if not sending.done]
            if waiting:
                points = sum(sending.journal.points for sending in waiting)
                names = ", ".join(sending.journal.header.name for sending in waiting)
                left.append(f"{name or own_uri(root)}: {why}; {points:,} points of {names} are left")
    finally:
        for sending in (each for sendings in stores.values() for each in sendings if not each.done):
            sending.journal.release()
    errors = []
    if left:
        errors.append(f"MLflow store {'; '.join(left)}; `python -m stages.sync` sends them once it answers")
    if untaken:
        names = ", ".join(str(folder) for folder in sorted(untaken))
        errors.append(f"{names} cannot be taken (see above); mend that, or move it away")
    if errors:
        raise PipelineError("; ".join(errors))


def _send(root: Path, name: str, experiment: str, sendings: list[Sending]) -> Generator[str, None, str]:
    """Send the journals of one store in their order; return why some are left."""
    uri = _uri(root, name)
    if HIDDEN in uri:
        return "its address has a secret, so export MLFLOW_TRACKING_URI first"
    why = ""
    try:
        store = connect(uri, experiment, root)
    except Exception as error:
        return reason(error)
    for sending in sendings:
        try:
            yield from _send_one(sending, store, root)
        except (Stuck, TakesTurns) as error:
            why = str(error)
        except Exception as error:
            return reason(error)
    return why


def _send_one(sending: Sending, store: Store, root: Path) -> Iterator[str]:
    journal = sending.journal
    try:
        while not sending.done:
            tries = sending.tries
            try:
                sending.advance(store)
            except Exception:
                if sending.tries == tries:
                    raise
                time.sleep(PAUSE)  # the store does others: some more tries, then it counts as refused
    except Gone:
        points, place = journal.points, journal.set_aside(root)
        sending.done = True
        yield f"{journal.header.name}: the run is gone from {store.name}; {place} keeps {points:,} points"
        return
    target = sending.target
    sent = f"{target.points:,} points, status {target.status}" if target else "nothing was left"
    damaged = f"; {journal.damaged} damaged lines were left out" if journal.damaged else ""
    yield f"{journal.header.name}: {sent}{damaged}"
    if sending.refused:
        yield f"warning: {lacking(sending, store.name)}"


def _uri(root: Path, name: str) -> str:
    """Return the address of a store, with the password of the one that is chosen now."""
    chosen = tracking_uri(root)
    return (chosen if redacted(chosen) == name else name) if name else own_uri(root)
