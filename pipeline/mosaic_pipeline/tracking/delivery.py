"""What goes to MLflow, from a thread of its own: nothing that trains or tests waits for a server."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Any

BULK = 1000  # points in one call; more is refused by MLflow


@dataclass(frozen=True)
class Patience:
    """Seconds between tries while the store is out of reach, and seconds that an ending run waits for the last try."""

    delays: tuple[float, ...] = (1, 2, 4, 8, 15, 30, 60)  # the last one again and again
    last: float = 30
    interrupted: float = 15  # for a run that ends because it was told to


PATIENCE = Patience()


class Delivery:
    """Delivers calls in their order, and points in bulk, one at a time; what fails is tried again.

    Calls that the store refuses, rather than not answers, are given up at once. Points are given up in the end only.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Any]], None],
        passes: Callable[[Exception], bool],
        warn: Callable[[str, Exception], None],
        patience: Patience,
    ) -> None:
        """Send up to BULK points by `send`. `passes` tells an outage from a refusal; `warn` is told of each failure."""
        self._send, self._passes, self._warn, self._patience = send, passes, warn, patience
        self._calls: deque[tuple[str, Callable[[], object]]] = deque()
        self._points: deque[Any] = deque()
        self._given_up: list[str] = []
        self._failures = 0
        self._closing = False
        self._changed = Condition()
        self._thread = Thread(target=self._work, daemon=True)  # a hung call does not keep the process alive
        self._thread.start()

    def call(self, what: str, function: Callable[[], object], *, first: bool = False) -> None:
        """Do a call after those before it, or before all others."""
        with self._changed:
            (self._calls.appendleft if first else self._calls.append)((what, function))
            self._changed.notify()

    def add(self, points: Sequence[Any]) -> None:
        """Send points after those before them."""
        with self._changed:
            self._points.extend(points)
            self._changed.notify()

    def close(self, interrupted: bool = False) -> list[str]:
        """Try all that is left once more, within the patience, and say what could not be delivered."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(self._patience.interrupted if interrupted else self._patience.last)
        with self._changed:
            lacking = [*self._given_up, *(what for what, _ in self._calls)]
            if self._points:
                lacking.append(f"{len(self._points)} points of metrics")
        return sorted(set(lacking))

    def _work(self) -> None:
        while self._wait_for_work():
            what, function, done = self._next()
            try:
                function()
            except Exception as error:
                self._warn(what, error)
                with self._changed:
                    self._failures += 1
                    if what != "metrics" and (self._closing or not self._passes(error)):
                        self._given_up.append(what)
                        done()
                    elif self._closing:
                        return  # the points that are left are counted
            else:
                with self._changed:
                    self._failures = 0
                    done()

    def _wait_for_work(self) -> bool:
        """Wait until there is something to deliver, and after failures for a while more; False at the end."""
        with self._changed:
            if self._failures:
                delay = self._patience.delays[min(self._failures, len(self._patience.delays)) - 1]
                self._changed.wait_for(lambda: self._closing, delay)
            self._changed.wait_for(lambda: self._calls or self._points or self._closing)
            return bool(self._calls or self._points)

    def _next(self) -> tuple[str, Callable[[], object], Callable[[], None]]:
        """Return what to do, how, and how to note that it is done; other threads only add behind it, or in front."""
        with self._changed:
            if self._calls:
                call = self._calls[0]
                return *call, lambda: self._calls.remove(call)
            points = [self._points[i] for i in range(min(BULK, len(self._points)))]

        def done() -> None:
            for _ in points:
                self._points.popleft()

        return "metrics", lambda: self._send(points), done
