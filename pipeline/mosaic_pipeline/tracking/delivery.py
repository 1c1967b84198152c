"""What goes to MLflow, from a thread of its own: nothing that trains or tests waits for a server."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread

from mosaic_pipeline.errors import one_line
from mosaic_pipeline.redact import redacted
from mosaic_pipeline.tracking.journal import Header, Journal, all_journals, set_aside
from mosaic_pipeline.tracking.operations import Operation
from mosaic_pipeline.tracking.sending import Gone, Sending, Stuck, TakesTurns, lacking
from mosaic_pipeline.tracking.store import Store, answered, connect, own_uri


@dataclass(frozen=True)
class Patience:
    """Seconds between tries while the store is out of reach, and how long a stage waits for it at its start and end.

    A store that does not answer costs a stage `share` of its time, or `silent` seconds in all. One that answers, only
    slowly, is given twice what its last answer took, and as long as it goes on so up to `last` seconds.
    """

    delays: tuple[float, ...] = (1, 2, 4, 8, 15, 30, 60)  # the last one again and again
    start: float = 1  # for a server that has answered before; of another one nobody knows that it is one
    unknown: float = 300  # without an answer from such a one; a database may be new, or the machine busy
    silent: float = 1.8
    share: float = 0.02
    slow: float = 15  # the most that an answer is waited for on account of the last one
    last: float = 30
    interrupted: float = 15  # for a run that ends because it was told to


PATIENCE = Patience()


class Delivery:
    """Sends the journals of one store, those that were left behind before those of this process.

    What fails is tried again, more and more rarely. The thread ends when nothing is left to send.
    """

    def __init__(self, connect: Callable[[], Store], root: Path, store: str, experiment: str) -> None:
        """Open the store by `connect`, from the thread; `store` and `experiment` are those of the journals' headers."""
        self._connect, self._root, self._of = connect, root, (store, experiment)
        self._store: Store | None = None
        self._queue: list[Sending] = []
        self._patience = PATIENCE
        self._failures = 0
        self._tried = 0.0  # when the last try began
        self._answered_at = self._took = 0.0  # the last answer: when, and after how long
        self._hurry = False
        self._untaken: set[Path] = set()
        self._held_up: list[Sending] = []  # by an earlier part of the same run, at the last try
        self._changed = Condition()
        self._thread: Thread | None = None

    def begin(self, sending: Sending, patience: Patience) -> None:
        """Send a journal from now on, and before it what was left behind."""
        with self._changed:
            self._patience = patience
            self._queue.append(sending)
            self._hurry = True
            self._changed.notify_all()
            if self._thread is None:
                self._failures = 0
                # A hung call does not keep the process alive.
                self._thread = Thread(target=self._work, daemon=True, name="tracking")
                self._thread.start()

    def wait_for_start(self, sending: Sending, seconds: float | None) -> Exception | None:
        """Wait until the run has begun in the store, for `seconds` or until it failed; return the error if it did.

        Without `seconds`, for as long as the store answers now and then. TimeoutError if there was no answer.
        """
        with self._changed:
            started = time.monotonic()
            while not (sending.begun or sending.error):
                silent = max(started, self._answered_at) + self._patience.unknown
                left = (silent if seconds is None else started + seconds) - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return None if sending.begun else sending.error or TimeoutError("no answer yet")

    def add(self, sending: Sending, operation: Operation) -> OSError | None:
        """Send an operation after those before it; return why it could not be kept on the disk, if so."""
        with self._changed:
            failed = sending.journal.append(operation)
            self._changed.notify_all()
        return failed

    def drop(self, sending: Sending) -> None:
        """Forget a journal, of a run that could not begin."""
        with self._changed:
            if sending in self._queue:
                self._queue.remove(sending)
            self._changed.notify_all()
            sending.journal.remove()

    def finish(self, sending: Sending, silent: float, longest: float) -> None:
        """Wait until a journal is sent: while the store answers, and no longer than `silent` seconds if it does not."""
        with self._changed:
            started = time.monotonic()
            self._hurry = True
            self._changed.notify_all()
            while not sending.done and sending in self._queue:
                if sending.error and not isinstance(sending.error, TakesTurns) and sending.tried >= started:
                    return  # it was tried once more
                patience = max(silent, min(2 * self._took, self._patience.slow)) + sending.in_hand
                left = min(started + longest, max(started, self._answered_at) + patience) - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)

    def _work(self) -> None:
        try:
            self._deliver()
        except BaseException as error:  # nobody else would tell those who wait
            with self._changed:
                self._thread = self._store = None
                self._tried = time.monotonic()
                self._note(self._queue, error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def _deliver(self) -> None:
        self._take_left_behind()
        while self._wait_for_work():
            try:
                self._send_all()
            except Exception as error:
                if not answered(error):
                    self._note(self._queue, error)
                with self._changed:
                    self._failures += 1
                if self._held_up and not self._take_left_behind():  # who knows for how long
                    self._note(self._held_up, TakesTurns("an earlier part of it is still to be sent"))

    def _wait_for_work(self) -> bool:
        """Wait until there is something to send, and after failures for a while more; False when all is done."""
        with self._changed:
            if self._failures:
                delays = self._patience.delays
                self._changed.wait_for(lambda: self._hurry, delays[min(self._failures, len(delays)) - 1])
            self._changed.wait_for(lambda: not self._queue or any(each.journal.pending for each in self._queue))
            self._hurry = False
            if not self._queue:
                self._thread = self._store = None
                return False
            return True

    def _send_all(self) -> None:
        """Send what is there; the first failure without an answer ends it, as the rest goes to the same store."""
        self._tried = time.monotonic()
        self._held_up = []
        failed: Exception | None = None
        if self._store is None:
            try:
                self._store = self._connect()
            except Exception as error:
                self._note(tuple(self._queue), error)
                raise
        for sending in tuple(self._queue):
            try:
                while sending in self._queue and sending.journal.pending:
                    self._tried = time.monotonic()
                    self._send(sending, self._store)
                    self._note_answer(sending)
            except Exception as error:
                failed = error
                if isinstance(error, TakesTurns):
                    self._held_up.append(sending)
                    continue
                if not answered(error):
                    raise
                self._note([sending], error)
        if failed:
            raise failed

    def _send(self, sending: Sending, store: Store) -> None:
        try:
            sending.advance(store)
        except Gone:
            place = sending.journal.set_aside(self._root)
            print(f"MLflow run {sending.run_id} is gone from {store.name}; {place} keeps the rest", file=sys.stderr)
            sending.done = True
        except Stuck as error:
            sending.error, sending.stuck = error, True
        if sending.done or sending.stuck:
            if sending.refused and sending.left_behind:
                print(f"warning: {lacking(sending, store.name)}", file=sys.stderr)
            with self._changed:
                if sending in self._queue:
                    self._queue.remove(sending)
                if sending.stuck and sending.left_behind:
                    sending.journal.release()

    def _note_answer(self, sending: Sending) -> None:
        with self._changed:
            self._answered_at = time.monotonic()
            self._took = self._answered_at - self._tried
            self._failures = 0
            if not sending.stuck:
                sending.error = None
            self._changed.notify_all()

    def _note(self, failed: Sequence[Sending], error: Exception) -> None:
        with self._changed:
            for sending in failed:
                sending.error, sending.tried = error, self._tried
            self._changed.notify_all()

    def _take_left_behind(self) -> bool:
        """Put what nobody sends into the queue; whether there was any."""
        (store, experiment), taken = self._of, False

        def is_ours(header: Header) -> bool:
            return (header.store, header.experiment) == (store, experiment)

        for journal in left_behind(self._root, is_ours, self._untaken):
            with self._changed:
                self._queue.append(Sending(journal, self._root))
                self._queue.sort(key=lambda each: each.journal.folder)
            taken = True
        return taken


_deliveries: dict[tuple[str, str, Path], Delivery] = {}


def delivery_to(uri: str, experiment: str, root: Path) -> Delivery:
    """Return this process's delivery to a store, by which one run comes after the other."""
    key = (uri, experiment, root)
    if key not in _deliveries:
        store = "" if uri == own_uri(root) else redacted(uri)
        _deliveries[key] = Delivery(lambda: connect(uri, experiment, root), root, store, experiment)
    return _deliveries[key]


def left_behind(root: Path, wanted: Callable[[Header], bool], untaken: set[Path]) -> Iterator[Journal]:
    """Take the journals that no process has any more, the oldest first.

    One that cannot be taken is left where it is, told once, and put into `untaken`: the others do not wait for it.
    """
    for folder in all_journals(root):
        try:
            journal = _take(folder, root, wanted)
        except Exception as error:
            journal = None
            if folder not in untaken:
                why = one_line(f"{type(error).__name__}: {error}")
                print(f"warning: MLflow: {folder} cannot be taken, and is not sent: {why}", file=sys.stderr)
            untaken.add(folder)
        if journal:
            yield journal


def _take(folder: Path, root: Path, wanted: Callable[[Header], bool]) -> Journal | None:
    try:
        return Journal.take(folder, wanted)
    except ValueError as error:
        print(f"warning: {one_line(str(error))}; {set_aside(folder, root)} keeps it", file=sys.stderr)
        return None
