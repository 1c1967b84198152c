"""Deliveries to a store that fails, hangs or refuses: whoever hands them over goes on, and what is missing is known."""

import threading
import time

import pytest

from mosaic_pipeline.tracking.delivery import BULK, Delivery, Patience

QUICK = Patience(delays=(0.001,), last=5, interrupted=5)


class Outage(Exception):
    """An answer that did not come."""


class Store:
    """Takes points and calls; while `off` it raises, while `hung` it does not return."""

    def __init__(self, patience=QUICK):
        self.off, self.tries = False, 0
        self.hung = threading.Event()
        self.hung.set()  # not hung
        self.points, self.sizes, self.called, self.warned = [], [], [], []
        self.delivery = Delivery(
            self.send,
            lambda error: isinstance(error, Outage),
            lambda what, error: self.warned.append(what),
            patience,
        )

    def reach(self):
        self.tries += 1
        self.hung.wait()
        if self.off:
            raise Outage

    def send(self, points):
        self.reach()
        self.points += points
        self.sizes.append(len(points))

    def call(self, name, **keywords):
        def function():
            self.reach()
            self.called.append(name)

        self.delivery.call(name, function, **keywords)


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_calls_and_points_arrive_in_their_order():
    store = Store()
    for number in range(50):
        store.call(number)
        store.delivery.add([number])
    assert store.delivery.close() == []
    assert store.called == store.points == list(range(50))


def test_points_of_an_outage_are_delivered_in_bulk_once_it_is_over():
    store = Store()
    store.off = True
    for number in range(3 * BULK // 2):
        store.delivery.add([number, number])
    wait_for(lambda: store.tries > 3)
    assert store.points == []
    store.off = False
    wait_for(lambda: len(store.points) == 3 * BULK)
    assert store.points == [number for number in range(3 * BULK // 2) for _ in range(2)]
    assert store.sizes[-2:] == [BULK, BULK]
    assert store.delivery.close() == []


def test_tries_become_rarer_while_nothing_gets_through(monkeypatch):
    store = Store(Patience(delays=(0.001, 0.002, 0.004)))
    waited, wait_for_ = [], threading.Condition.wait_for

    def recorded(condition, predicate, timeout=None):
        if timeout is not None:
            waited.append(timeout)
        return wait_for_(condition, predicate, timeout)

    monkeypatch.setattr(threading.Condition, "wait_for", recorded)
    store.off = True
    store.delivery.add([1])
    wait_for(lambda: store.tries > 5)
    assert waited[:5] == [0.001, 0.002, 0.004, 0.004, 0.004]
    store.delivery.close()


def test_nobody_waits_for_a_store_that_hangs_until_the_end_and_then_only_so_long():
    store = Store(Patience(last=0.05, interrupted=0.01))
    store.hung.clear()
    for number in range(1000):
        store.delivery.add([number])
    store.call("tags")
    assert store.delivery.close() == ["1000 points of metrics", "tags"]
    assert store.delivery.close(interrupted=True) == ["1000 points of metrics", "tags"]
    store.hung.set()


def test_the_end_is_one_more_try_that_does_not_wait_for_the_next_delay():
    store = Store(Patience(delays=(3600,)))
    store.off = True
    store.call("tags")
    store.delivery.add([1])
    wait_for(lambda: store.tries)
    store.off = False
    assert store.delivery.close() == []
    assert (store.called, store.points) == (["tags"], [1])


def test_a_store_that_is_still_off_at_the_end_lacks_what_is_named():
    store = Store(Patience(delays=(3600,)))
    store.off = True
    for name in ("tags", "params", "tags"):
        store.call(name)
    store.delivery.add([1, 2, 3])
    assert store.delivery.close() == ["3 points of metrics", "params", "tags"]


def test_what_is_refused_holds_up_nothing_and_is_named_at_the_end():
    store = Store()

    def refuse():
        raise ValueError("no such artifact")

    store.delivery.call("artifact", refuse)
    store.call("tags")
    store.delivery.add([1])
    wait_for(lambda: store.points)
    assert store.called == ["tags"]
    assert store.warned == ["artifact"]
    assert store.delivery.close() == ["artifact"]


def test_what_goes_first_goes_before_what_waits():
    store = Store()
    store.off = True
    store.call("tags")
    wait_for(lambda: store.tries)
    store.call("status", first=True)
    store.off = False
    assert store.delivery.close() == []
    assert store.called == ["status", "tags"]


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_delivery_with_nothing_left_ends_at_once(interrupted):
    store = Store(Patience(last=3600, interrupted=3600))
    assert store.delivery.close(interrupted) == []
