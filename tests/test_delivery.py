"""Deliveries to a store that fails, hangs or refuses: whoever hands them over goes on, and what is missing is kept."""

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow.exceptions import MlflowException

from mosaic_pipeline.tracking.delivery import Delivery, Patience
from mosaic_pipeline.tracking.journal import Journal, all_journals
from mosaic_pipeline.tracking.operations import BULK, Begin, End, Points, Tags, Text
from mosaic_pipeline.tracking.sending import TRIES, Sending, TakesTurns
from mosaic_pipeline.tracking.store import Store

QUICK = Patience(delays=(0.001,), silent=5)
NEVER = Patience(delays=(3600,), silent=5)


class Client:
    """Takes what a run sends; while `off` it does not answer, while not `well` it hangs, what `fails` it fails at."""

    def __init__(self):
        self.off, self.calls, self.fails, self.refuses = False, 0, set(), set()
        self.well = threading.Event()
        self.well.set()
        self.done, self.sizes, self.created, self.slow = [], [], 0, 0.0

    def _reach(self, what):
        self.calls += 1
        self.well.wait()
        time.sleep(self.slow)
        if self.off:
            raise ConnectionError("nobody is there")
        if what in self.fails:
            raise MlflowException("a defect")  # 500
        if what in self.refuses:
            raise ValueError("that is no value")

    def create_run(self, experiment_id, start_time, tags, run_name):
        self._reach("create")
        self.created += 1
        return self.get_run(run_name)

    def search_runs(self, experiment_ids, filter_string):
        return []

    def get_run(self, run_id):
        self._reach("get")
        info = SimpleNamespace(run_id=run_id, lifecycle_stage="active")
        proto = SimpleNamespace(data=SimpleNamespace(metrics=[]))
        return SimpleNamespace(info=info, data=SimpleNamespace(params={}, tags={}), to_proto=lambda: proto)

    def log_batch(self, run_id, metrics=(), tags=(), synchronous=True):
        self._reach("tags" if tags else "points")
        self.done += [(run_id, metric.step) for metric in metrics] + [(run_id, tag.key) for tag in tags]
        self.sizes.append(len(metrics))

    def log_text(self, run_id, text, path):
        self._reach("text")
        self.done.append((run_id, path))

    def set_tag(self, run_id, key, value):
        self.log_batch(run_id, tags=[SimpleNamespace(key=key)])

    def set_terminated(self, run_id, status, milliseconds):
        self._reach("end")
        self.done.append((run_id, status))


class Life:
    """A run, and what was said of it."""

    def __init__(self, root, delivery, name="run"):
        self.warned = []
        journal = Journal.create(root, "http://server", "mosaic", name)
        journal.append(Begin(None, name, 1, {}, None))
        self.sending = Sending(journal, root, lambda what, error: self.warned.append(what))
        self.delivery = delivery

    def begin(self, patience=QUICK):
        self.delivery.begin(self.sending, patience)
        return self

    def points(self, *steps):
        self.delivery.add(self.sending, Points([["loss", 0.5, 1, step, None, None] for step in steps]))

    def tag(self, key):
        self.delivery.add(self.sending, Tags({key: "value"}))

    def end(self, silent=5, longest=30):
        self.delivery.add(self.sending, End("FINISHED", 2, None))
        self.delivery.finish(self.sending, silent, longest)
        return self.sending.done


@pytest.fixture
def client():
    made = Client()
    yield made
    made.off, made.fails = False, set()
    made.well.set()


@pytest.fixture
def delivery(client, tmp_path):
    store = Store(client, "http://server", "http://server", "1")

    def connect():
        client._reach("connect")
        return store

    return Delivery(connect, tmp_path, "http://server", "mosaic")


@pytest.fixture
def run(tmp_path, delivery):
    return Life(tmp_path, delivery)


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_all_that_is_handed_over_arrives_in_its_order_and_nothing_is_left(client, run, tmp_path):
    run.begin()
    for number in range(50):
        run.tag(f"tag {number}")
        run.points(number)
    assert run.end()
    expected = [("run", what) for number in range(50) for what in (f"tag {number}", number)]
    assert client.done == [*expected, ("run", "FINISHED")]
    assert all_journals(tmp_path) == []


def test_points_of_an_outage_are_delivered_in_bulk_once_it_is_over(client, run):
    client.off = True
    run.begin()
    for number in range(3 * BULK // 2):
        run.points(2 * number, 2 * number + 1)
    wait_for(lambda: client.calls > 3)
    assert client.done == []
    client.off = False
    assert run.end()
    assert client.done[:-1] == [("run", number) for number in range(3 * BULK)]
    assert client.sizes == [BULK, BULK, BULK]


def test_one_handover_of_more_points_than_a_call_takes_is_cut(client, run):
    run.begin().points(*range(2 * BULK + 1))
    assert run.end()
    assert client.sizes == [BULK, BULK, 1]


def test_tries_become_rarer_while_nothing_gets_through(client, run, monkeypatch):
    waited, wait_for_ = [], threading.Condition.wait_for

    def recorded(condition, predicate, timeout=None):
        if timeout is not None:
            waited.append(timeout)
        return wait_for_(condition, predicate, timeout)

    monkeypatch.setattr(threading.Condition, "wait_for", recorded)
    client.off = True
    run.begin(Patience(delays=(0.001, 0.002, 0.004)))
    wait_for(lambda: client.calls > 5)
    assert waited[:5] == [0.001, 0.002, 0.004, 0.004, 0.004]


def test_nobody_waits_for_a_store_that_hangs_until_the_end_and_then_only_so_long(client, run):
    client.well.clear()
    run.begin()
    assert isinstance(run.delivery.wait_for_start(run.sending, 0.01), TimeoutError)
    for number in range(1000):
        run.points(number)
    started = time.monotonic()
    assert not run.end(silent=0.05, longest=3600)
    assert time.monotonic() - started < 5  # of an hour
    assert run.sending.journal.points == 1000


def test_a_store_that_answers_slowly_is_waited_for(client, run):
    """Each answer takes longer than a silence may be; the last one says how long the next may take."""
    client.slow = 0.05
    run.begin()
    assert run.delivery.wait_for_start(run.sending, None) is None
    for number in range(5):
        run.points(number)
        run.tag(f"tag {number}")
    assert run.end(silent=0.001)


def test_but_not_for_longer_than_that(client, run):
    client.slow = 0.05
    run.begin()
    assert run.delivery.wait_for_start(run.sending, None) is None
    for number in range(100):
        run.tag(f"tag {number}")
    assert not run.end(silent=5, longest=0.2)


def test_the_end_is_one_more_try_that_does_not_wait_for_the_next_delay(client, run):
    client.off = True
    run.begin(NEVER).points(1)
    wait_for(lambda: client.calls)
    client.off = False
    assert run.end(silent=3600, longest=3600)


def test_an_end_in_an_outage_is_over_after_one_try(client, run):
    client.off = True
    run.begin(NEVER).points(1)
    wait_for(lambda: client.calls)
    assert not run.end(silent=3600, longest=3600)


def test_what_is_refused_holds_up_nothing_and_is_named_at_the_end(client, run):
    client.refuses = {"text"}
    run.begin()
    run.delivery.add(run.sending, Text("text", "configs/mosaic.yaml"))
    run.tag("tag")
    assert run.end()
    assert client.done == [("run", "tag"), ("run", "FINISHED")]
    assert run.sending.refused == ["artifact configs/mosaic.yaml"]
    assert run.warned == ["artifact"]


def test_what_a_store_always_fails_at_though_it_does_others_counts_as_refused_in_the_end(client, run):
    client.fails = {"text"}
    run.begin()
    run.delivery.add(run.sending, Text("text", "configs/mosaic.yaml"))
    wait_for(lambda: run.sending.refused)
    assert run.warned == ["artifact"] * TRIES
    assert run.end()


def test_a_store_that_fails_at_everything_is_out_of_reach_for_as_long_as_that_takes(client, run):
    run.begin()
    assert run.delivery.wait_for_start(run.sending, None) is None
    client.fails = {"tags", "points", "get"}
    run.tag("tag")
    wait_for(lambda: len(run.warned) > 2 * TRIES)
    client.fails = set()
    assert run.end()
    assert run.sending.refused == []
    assert client.done == [("run", "tag"), ("run", "FINISHED")]


def test_what_was_left_behind_goes_before_the_next_run(client, delivery, tmp_path):
    killed = Life(tmp_path, delivery, "killed")
    killed.points(1)
    killed.sending.journal.lock.release()
    foreign = Journal.create(tmp_path, "http://another", "mosaic", "foreign")
    foreign.append(Begin(None, "foreign", 1, {}, None))
    foreign.lock.release()
    alive = Life(tmp_path, delivery, "alive")
    alive.points(1)

    run = Life(tmp_path, delivery).begin()
    run.points(1)
    assert run.end()
    assert client.done == [("killed", 1), ("killed", "error"), ("killed", "FAILED"), ("run", 1), ("run", "FINISHED")]
    assert all_journals(tmp_path) == [foreign.folder, alive.sending.journal.folder]


def test_what_was_left_behind_and_makes_the_store_fail_holds_up_no_other_run(client, delivery, tmp_path):
    killed = Life(tmp_path, delivery, "killed")
    killed.delivery.add(killed.sending, Text("text", "place"))
    killed.sending.journal.lock.release()
    client.fails = {"text"}
    run = Life(tmp_path, delivery).begin(NEVER)
    assert delivery.wait_for_start(run.sending, None) is None


def damage(journal, what):
    """Make a journal one that nobody can take, or can only in part."""
    lock = Path(f"{journal.folder}.lock")
    if what == "line":
        (journal.folder / "journal.jsonl").write_text("5\n")
    elif what == "types":
        (journal.folder / "journal.jsonl").write_text('{"do": "Points", "points": 5}\n')
    elif what == "state":
        (journal.folder / "sent.jsonl").write_text('{"end": null}\n')
    elif what == "sent":
        (journal.folder / "sent.jsonl").mkdir()
    elif what == "header":
        (journal.folder / "header.json").write_text('{"store": 5, "experiment": "", "name": "", "session": ""}')
    else:
        lock.unlink()
        lock.mkdir() if what == "lock folder" else lock.symlink_to("nowhere")


@pytest.mark.parametrize("what", ["line", "types", "state", "sent", "header", "lock folder", "lock"])
def test_a_journal_that_is_damaged_or_cannot_be_taken_holds_up_no_run(client, delivery, tmp_path, capsys, what):
    old = Life(tmp_path, delivery, "old")
    old.sending.journal.release()
    damage(old.sending.journal, what)
    killed = Life(tmp_path, delivery, "killed")
    killed.points(1)
    killed.sending.journal.release()
    run = Life(tmp_path, delivery).begin()
    assert delivery.wait_for_start(run.sending, None) is None
    assert run.end()
    assert ("killed", 1) in client.done
    said = capsys.readouterr().err.splitlines()
    assert [str(old.sending.journal.folder) in line for line in said] == [True] * (
        what in ("sent", "header", "lock folder", "lock")
    )


def test_who_continues_a_run_of_which_a_part_cannot_be_taken_does_not_wait_for_it(client, delivery, tmp_path, capsys):
    old = Life(tmp_path, delivery, "old")
    old.sending.journal.release()
    damage(old.sending.journal, "lock")
    (old.sending.journal.folder / "sent.jsonl").mkdir()
    journal = Journal.create(tmp_path, "http://server", "mosaic", "run")
    journal.append(Begin(old.sending.journal.header.session, "run", 1, {}, None))
    sending = Sending(journal, tmp_path, lambda what, error: None)
    delivery.begin(sending, QUICK)
    assert isinstance(delivery.wait_for_start(sending, None), TakesTurns)
    calls = client.calls
    with delivery._changed:
        delivery._changed.notify_all()
    tried = sending.tried
    wait_for(lambda: sending.tried > tried)
    assert client.calls == calls
    assert len(capsys.readouterr().err.splitlines()) == 1
    delivery.drop(sending)


def test_who_waits_is_told_when_the_thread_dies(client, delivery, tmp_path, monkeypatch):
    def dies():
        raise SystemExit("no memory")

    with monkeypatch.context() as patched:
        patched.setattr(delivery, "_wait_for_work", dies)
        run = Life(tmp_path, delivery).begin()
        error = delivery.wait_for_start(run.sending, None)
        assert "no memory" in str(error)
        assert delivery._thread is None
    assert Life(tmp_path, delivery, "next").begin().end()


def test_a_store_of_which_nobody_knows_is_not_waited_for_for_ever(client, run):
    client.well.clear()
    run.begin(Patience(unknown=0.01))
    assert isinstance(run.delivery.wait_for_start(run.sending, None), TimeoutError)


def test_the_thread_ends_with_the_last_run_and_comes_back_with_the_next(client, delivery, tmp_path):
    for name in ("one", "two"):
        run = Life(tmp_path, delivery, name).begin()
        assert run.end()
        wait_for(lambda: delivery._thread is None)
    assert client.created == 2
