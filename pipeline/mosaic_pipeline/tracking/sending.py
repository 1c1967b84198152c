"""One journal on its way to the store: its operations in their order, each until it is done or refused."""

from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

from mosaic_pipeline.tracking.journal import FOLDER, Journal, all_journals, runs_of
from mosaic_pipeline.tracking.operations import BULK, Artifact, Begin, End, Operation, Points, Target, named
from mosaic_pipeline.tracking.store import Store, answered, missing, passes, reason

TRIES = 5  # of an operation that the store fails at, though it does others; then it counts as refused
UPLOAD = 1e6  # bytes a second, at least, that a store takes of an artifact


class Gone(Exception):
    """The run was deleted from the store."""


class Stuck(Exception):
    """The run cannot begin, or end, there as things are; sending the rest makes no sense."""


class TakesTurns(Exception):
    """An earlier part of the same run is still to be sent, by another process or once its journal can be taken."""


class Sending:
    """Sends a journal; what the store refuses is named in `refused`, what it does not answer is tried again."""

    def __init__(self, journal: Journal, root: Path, warn: Callable[[str, Exception], None] | None = None) -> None:
        """Tell `warn` of each failure of this run."""
        self.journal, self.root = journal, root
        self.refused: list[str] = []
        self.begun = journal.state.run_id is not None
        self.done = self.stuck = False
        self.error: Exception | None = None  # of the last try, which began at the time `tried`
        self.tried = 0.0
        self.target: Target | None = None
        self._warn = warn
        self.tries = 0  # of the next operation, at a store that does others
        # Of a process that is gone nobody knows which requests it made last.
        self._repeated = warn is None

    @property
    def left_behind(self) -> bool:
        """Whether another process has written the journal."""
        return self._warn is None

    @property
    def run_id(self) -> str | None:
        """The id that the store gave the run, once it is known."""
        return self.journal.state.run_id

    @property
    def in_hand(self) -> float:
        """Seconds that the next operation may take by its size."""
        pending = self.journal.pending
        operation = pending[0].operation if pending else None
        return operation.size(self._kept) / UPLOAD if isinstance(operation, Artifact) else 0

    def advance(self, store: Store) -> None:
        """Send what is next. Raises what a store raises that does not answer, and the exceptions above."""
        operation, entries = self._next()
        if operation is not None:
            try:
                self._apply(operation, store)
            except (Gone, Stuck, TakesTurns):
                raise
            except Exception as error:
                if self._warn:
                    self._warn(operation.what, error)
                if passes(error) and not self._hopeless(error):
                    raise
                if isinstance(operation, End):
                    self._open(store)  # a run that is gone ends nowhere
                # Without a run to send it to, or without its end, the journal is all that there is of it.
                if isinstance(operation, (Begin, End)) or self.target is None:
                    raise Stuck(reason(error)) from error
                self.refused.append(named(operation))
        self.tries = 0
        self.journal.state.ended |= isinstance(operation, End)
        self.journal.sent(entries)
        if self.journal.state.ended:
            self.journal.remove()
            self.done = True

    def _next(self) -> tuple[Operation | None, int]:
        """Return what to do next and how many entries that is: points that follow each other go in bulk."""
        pending = self.journal.pending
        first = pending[0].operation
        if not isinstance(first, Points):
            return first, 1
        points, entries = list(first.points), 1
        while entries < len(pending) and isinstance(further := pending[entries].operation, Points):
            if len(points) + len(further.points) > BULK:
                break
            points += further.points
            entries += 1
        return Points(points), entries

    def _apply(self, operation: Operation, store: Store) -> None:
        target = self.target = self.target or self._open(store)
        if isinstance(operation, Begin):
            self._wait_for_earlier(operation, target)
        operation.apply(target)
        if isinstance(operation, Begin):
            state = self.journal.state
            state.run_id, state.model_id, state.system_base = target.run_id, target.model_id, target.system_base
            self.begun = True

    def _open(self, store: Store) -> Target:
        """Find the run as the store has it by now."""
        from mlflow.exceptions import MlflowException

        state, header = self.journal.state, self.journal.header
        target = Target(store, header.session, self.root / FOLDER / "ids", self._kept, header.name, self._repeated)
        if state.run_id is not None:
            try:
                record = store.client.get_run(state.run_id)
            except MlflowException as error:
                if not missing(error):
                    raise
                raise Gone from error
            if record.info.lifecycle_stage == "deleted":
                raise Gone
            target.open(record)
            target.model_id, target.system_base = state.model_id, state.system_base
        return target

    def _wait_for_earlier(self, begin: Begin, to: Target) -> None:
        """See that no earlier part of a continued run is still to be sent."""
        if begin.run_id is None:
            return
        ours = {begin.run_id, to.resolve(begin.run_id)}
        earlier = takewhile(lambda folder: folder != self.journal.folder, all_journals(self.root))
        if any(runs_of(folder) & ours for folder in earlier):
            raise TakesTurns("an earlier part of it is still to be sent")

    def _hopeless(self, error: Exception) -> bool:
        """Whether the store has failed often enough at this operation, and does others."""
        if not answered(error) or self.target is None or not self.target.run_id:
            return False
        try:
            self.target.store.client.get_run(self.target.run_id)
        except Exception:
            return False
        self.tries += 1
        return self.tries >= TRIES

    @property
    def _kept(self) -> Path:
        return self.journal.folder / "artifacts"


def lacking(sending: Sending, store: str) -> str:
    """Say what the store refused."""
    return f"MLflow run {sending.journal.header.name} in {store} lacks {', '.join(sorted(set(sending.refused)))}"
