"""Runs beside an MLflow server that hangs, is gone or loses answers: they go on, and no point is missing or twice."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copytree, rmtree
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.utils.rest_utils import verify_rest_response

from mosaic_pipeline.command import GracefulStop, Terminated, run_command
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import TRAINING_DATA
from mosaic_pipeline.lineage import Lineage
from mosaic_pipeline.params import Tracking
from mosaic_pipeline.tracking import delivery, lifecycle, tracked_run
from mosaic_pipeline.tracking.delivery import Patience
from mosaic_pipeline.tracking.journal import FOLDER, all_journals
from mosaic_pipeline.tracking.store import missing, passes
from mosaic_pipeline.tracking.subject import Subject
from mosaic_pipeline.tracking.sync import sync
from mosaic_pipeline.tracking.training import tracked_training
from mosaic_pipeline.training.checkpoint import Checkpoints
from stages.sync import main

REPOSITORY = Path(__file__).parents[1]
TRACKING = Tracking(experiment="mosaic", system_metrics=False)
ROUNDS = (1, 2, 3, 4, 5, 6)
KEYS = ("loss", "acc", "auc")


class Server:
    """As much of MLflow's REST interface as a run uses.

    While it is not `well`, requests wait and are lost; while it is `lossy`, every third answer is. As the real one it
    takes a point with the same time and value once.
    """

    def __init__(self):
        self.points = defaultdict(list)  # by run, as they came
        self.tags = defaultdict(dict)
        self.status = {}
        self.deleted = set()
        self.requests = 0
        self.well = threading.Event()
        self.well.set()
        self.hanging = threading.Event()  # a request waits
        self.impatient = self.lossy = self.denies = False
        self.proxy = None  # what stands in front says this of all that is on runs: a status and a text
        self.refuses = set()
        self.lock = threading.Lock()
        self.start(0)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def start(self, port):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                address = urlsplit(self.path)
                self._answer(address.path, {key: value[0] for key, value in parse_qs(address.query).items()})

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(self.path, json.loads(body))

            do_PATCH = do_DELETE = do_POST

            def _answer(self, path, request):
                if not server.well.is_set():
                    server.hanging.set()
                    if not server.well.wait(60):
                        server.impatient = True  # somebody waited for this answer
                    self.close_connection = True
                    return
                with server.lock:
                    server.requests += 1
                    away = server.proxy and "/runs/" in path
                    status, answer = (0, {}) if away else server.answer(path.rpartition("/mlflow/")[2], request)
                    if server.lossy and server.requests % 3 == 0:
                        self.close_connection = True
                        return
                answer = json.dumps(answer).encode()
                if away:
                    status, answer = server.proxy[0], server.proxy[1].encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()

    def come_back(self):
        self.start(self.http.server_port)

    def record(self, run_id):
        latest = {point["key"]: point for point in self.points[run_id]}  # in the order of their steps
        stage = "deleted" if run_id in self.deleted else "active"
        info = {"run_id": run_id, "run_name": "mosaic-42", "experiment_id": "1", "lifecycle_stage": stage}
        tags = [{"key": key, "value": value} for key, value in self.tags[run_id].items()]
        return {"info": info, "data": {"metrics": list(latest.values()), "tags": tags}}

    def answer(self, what, request):
        run_id = request.get("run_id", "")
        if self.denies and what:
            return 401, {"error_code": "UNAUTHENTICATED", "message": "another password"}
        if what in self.refuses:
            return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "not so"}
        if what == "experiments/get-by-name":
            return 200, {"experiment": {"experiment_id": "1", "name": "mosaic", "lifecycle_stage": "active"}}
        if what == "runs/create":
            run_id = f"{len(self.status):032x}"
            self.status[run_id] = "RUNNING"
            request["tags"] = request.get("tags", [])
        elif what == "runs/search":
            wanted = request["filter"].split("'")[1]
            found = [each for each in self.status if wanted in self.tags[each].values()]
            return 200, {"runs": [self.record(each) for each in found]}
        elif run_id and run_id not in self.status:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"}
        if what == "runs/update":
            self.status[run_id] = request["status"]
            return 200, {"run_info": {"run_id": run_id, "status": request["status"]}}
        if what == "runs/set-tag":
            self.tags[run_id][request["key"]] = request["value"]
        if what == "runs/delete-tag":
            del self.tags[run_id][request["key"]]
        for point in request.get("metrics", []):
            if point not in self.points[run_id]:
                self.points[run_id].append(point)
        for tag in request.get("tags", []):
            self.tags[run_id][tag["key"]] = tag["value"]
        return 200, {"run": self.record(run_id)} if what in ("runs/create", "runs/get") else {}


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    server = Server()
    for key, value in {
        "MLFLOW_TRACKING_URI": server.url,
        "NO_PROXY": "127.0.0.1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "120",
    }.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    # The end of a training that was told to stop: what hangs then is left to the next one.
    be(monkeypatch, Patience(delays=(0.01,), start=0.5, silent=10, interrupted=0.01))
    yield server
    server.lossy = False
    server.well.set()
    server.stop()


def be(monkeypatch, patience):
    """Use this patience."""
    monkeypatch.setattr(lifecycle, "PATIENCE", patience)


IMPATIENT = Patience(delays=(0.01,), start=0.05, silent=0.05)


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def log_rounds(run, rounds=ROUNDS):
    for step in rounds:
        run.log_metrics({key: math.sqrt(step) for key in KEYS}, step)


def expected(rounds=ROUNDS):
    return sorted((key, step) for key in KEYS for step in rounds)


def arrived(server, run_id):
    """The points of a run, each as often as it has it."""
    return sorted((point["key"], point.get("step", 0)) for point in server.points[run_id])


def stopped_after(run, rounds):
    log_rounds(run, rounds)
    raise Terminated


def process_ends(run):
    """Leave the journal as the end of its process does."""
    with run._delivery._changed:
        run._delivery._queue.clear()
        run._delivery._changed.notify_all()
        thread = run._delivery._thread
    if thread:
        thread.join(0.5)  # unless it hangs in a call it ends, and takes nothing that is released here
    delivery._deliveries.clear()  # another process has its own
    run._sending.journal.release()


def missed(server, name="mosaic-42"):
    """A run whose rounds the server was not there for; its process has ended, and the server is still gone."""
    with tracked_run("train", name, TRACKING) as run:
        wait_for(lambda: not run._sending.journal.pending)
        server.stop()
        log_rounds(run)
    process_ends(run)
    return run


def test_metrics_are_taken_from_a_stage_while_the_server_hangs_and_are_there_in_the_end(server):
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        wait_for(lambda: not run._sending.journal.pending)
        server.well.clear()
        for step in (1, 2, 3):
            run.log_metrics({"loss": 1 / step}, step)
            run.set_tags({"step": str(step)})
        assert server.points[run.id] == []
        assert not server.impatient  # nobody waited for it
        server.well.set()
    assert [point["step"] for point in server.points[run.id]] == [1, 2, 3]
    assert server.status == {run.id: "FINISHED"}
    assert all_journals(Path()) == []


def test_a_server_that_loses_answers_has_one_run_and_each_point_once(server):
    with tracked_run("train", "before", TRACKING):
        pass  # a server is to answer once before it may fail
    server.lossy = True
    with tracked_run("train", "mosaic-42", TRACKING, params={"lr": 1}, note="why") as run:
        for step in ROUNDS:
            log_rounds(run, [step])
            wait_for(lambda: not run._sending.journal.pending)
    server.lossy = False
    wait_for(lambda: run._sending.done)
    assert arrived(server, run.id) == expected()
    assert list(server.status.values()) == ["FINISHED", "FINISHED"]


def test_a_server_that_was_gone_and_is_back_before_the_end_has_each_point_once(server):
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        log_rounds(run, ROUNDS[:2])
        wait_for(lambda: len(server.points[run.id]) == 2 * len(KEYS))
        server.stop()
        log_rounds(run, ROUNDS[2:4])
        wait_for(lambda: run._sending.error)
        server.come_back()
        log_rounds(run, ROUNDS[4:])
    assert arrived(server, run.id) == expected()
    assert server.status[run.id] == "FINISHED"


@pytest.mark.parametrize("hangs", [True, False])
def test_a_server_that_does_not_come_back_gets_all_by_a_sync_and_nothing_twice(server, hangs, capsys, monkeypatch):
    be(monkeypatch, IMPATIENT)
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        log_rounds(run, ROUNDS[:2])
        wait_for(lambda: not run._sending.journal.pending)
        server.well.clear() if hangs else server.stop()
        log_rounds(run, ROUNDS[2:])
        assert not hangs or server.hanging.wait(60)
    assert server.status == {run.id: "RUNNING"}
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"warning: MLflow run mosaic-42: 12 points are kept in .cache/tracking and go to {server.url} at the next "
        "stage, or by `python -m stages.sync`"
    )
    process_ends(run)
    server.well.set() if hangs else server.come_back()
    assert list(sync(Path())) == ["mosaic-42: 12 points, status FINISHED"]
    assert arrived(server, run.id) == expected()
    assert server.status == {run.id: "FINISHED"}
    requests = server.requests
    assert list(sync(Path())) == []
    assert server.requests == requests


def test_a_sync_of_a_server_that_is_still_gone_names_it_and_what_is_left(server, monkeypatch, capsys):
    be(monkeypatch, IMPATIENT)
    missed(server)
    monkeypatch.setattr(sys, "argv", ["sync"])
    capsys.readouterr()
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            run_command(main)
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: MLflow store {server.url}: ")
        assert "refused; 18 points of mosaic-42 are left; `python -m stages.sync` sends them" in line
    server.come_back()
    for said in ("mosaic-42: 18 points, status FINISHED\n", "nothing is left to send\n"):
        run_command(main)
        assert capsys.readouterr() == (said, "")


def test_the_next_stage_sends_what_was_left_before_its_own(server, monkeypatch, capsys):
    """Else an evaluation would look in vain for the training of its model."""
    be(monkeypatch, IMPATIENT)
    with tracked_run("train", "mosaic-42", TRACKING) as trained:
        wait_for(lambda: not trained._sending.journal.pending)
        server.stop()
        log_rounds(trained)
        trained.set_tags({"md5.model": "aaa"})
    process_ends(trained)
    server.come_back()
    be(monkeypatch, Patience(silent=10))
    with tracked_run("evaluate", "mosaic-42-A", TRACKING, parent_model_md5="aaa") as run:
        pass
    assert arrived(server, trained.id) == expected()
    assert server.status == {trained.id: "FINISHED", run.id: "FINISHED"}
    assert server.tags[run.id]["mlflow.parentRunId"] == trained.id
    assert all_journals(Path()) == []


@pytest.mark.parametrize("hangs", [True, False])
def test_a_stage_begins_beside_a_known_server_that_is_out_of_reach(server, hangs, monkeypatch, capsys):
    """Its run is created later, with the time at which it began, and continued by the id that it had meanwhile."""
    with tracked_run("train", "before", TRACKING):
        pass
    be(monkeypatch, IMPATIENT)
    server.well.clear() if hangs else server.stop()
    with pytest.raises(Terminated), tracked_run("train", "mosaic-42", TRACKING) as first:
        stopped_after(first, ROUNDS[:4])
    assert not hangs or server.hanging.wait(60)
    assert first.id.startswith("local-")
    in_checkpoint = first.id
    process_ends(first)
    with pytest.raises(Terminated), tracked_run("train", "mosaic-42", TRACKING, run_id=in_checkpoint) as second:
        stopped_after(second, ROUNDS[:5])
    assert second.id == in_checkpoint
    process_ends(second)

    server.well.set() if hangs else server.come_back()
    be(monkeypatch, Patience(delays=(0.01,), start=10, silent=10))
    with tracked_run("train", "mosaic-42", TRACKING, run_id=in_checkpoint) as third:
        assert third.id in server.status
        log_rounds(third)
    assert list(server.status.values()) == ["FINISHED", "FINISHED"]
    assert arrived(server, third.id) == expected()
    assert "error" not in server.tags[third.id]
    assert all_journals(Path()) == []
    assert list((FOLDER / "ids").iterdir()) == []


def test_a_server_that_never_answered_is_an_error_from_the_start(server):
    server.stop()
    with pytest.raises(PipelineError, match="Connection refused"), tracked_run("train", "mosaic-42", TRACKING):
        pass
    assert all_journals(Path()) == []


def test_a_password_that_is_wrong_is_an_error_at_the_start_and_costs_nothing_later(server, monkeypatch):
    be(monkeypatch, IMPATIENT)
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        wait_for(lambda: not run._sending.journal.pending)
        server.denies = True
        log_rounds(run)
    process_ends(run)
    be(monkeypatch, Patience(delays=(0.01,), start=60))
    with pytest.raises(PipelineError, match="another password"), tracked_run("train", "mosaic-43", TRACKING):
        pass
    server.denies = False
    wait_for(lambda: not all_journals(Path()))  # this process has taken what was left, and lives on
    assert arrived(server, run.id) == expected()
    assert server.status == {run.id: "FINISHED"}


TRAIN = f"""
from pathlib import Path
from mosaic_pipeline.params import Tracking
from mosaic_pipeline.tracking import tracked_run
import time

with tracked_run("train", "mosaic-42", Tracking(experiment="mosaic", system_metrics=False)) as run:
    for step in (1, 2, 3, 4):
        run.log_metrics({{key: step ** 0.5 for key in {KEYS}}}, step)
        if step == 2:
            while run._sending.journal.pending:
                time.sleep(0.01)
            Path("checkpoint").write_text(run.id)
            while not Path("outage").exists():
                time.sleep(0.01)
    Path("measured").touch()
    time.sleep(600)
"""


def test_a_training_that_is_killed_in_an_outage_loses_nothing_whether_it_goes_on_or_not(server, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN], env=os.environ | {"PYTHONPATH": str(REPOSITORY / "pipeline")}
    )
    wait_for(Path("checkpoint").exists)
    server.well.clear()
    Path("outage").touch()
    wait_for(Path("measured").exists)
    assert "in progress" in next(sync(tmp_path))
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.well.set()
    run_id = Path("checkpoint").read_text()
    assert arrived(server, run_id) == expected(ROUNDS[:2])
    tracking = tmp_path / FOLDER
    copytree(tracking, tmp_path / "copy")
    points, tags = deepcopy(server.points), deepcopy(server.tags)

    assert list(sync(tmp_path)) == ["mosaic-42: 6 points, status FAILED"]
    assert arrived(server, run_id) == expected(ROUNDS[:4])
    assert server.status == {run_id: "FAILED"}
    assert server.tags[run_id]["error"] == "killed"

    rmtree(tracking)
    (tmp_path / "copy").rename(tracking)
    server.points, server.tags, server.status = points, tags, {run_id: "RUNNING"}
    with tracked_run("train", "mosaic-42", TRACKING, run_id=run_id) as run:
        log_rounds(run)  # all that the checkpoint knows, and more
    assert arrived(server, run_id) == expected()
    assert server.status == {run_id: "FINISHED"}
    assert "error" not in server.tags[run_id]
    assert all_journals(tmp_path) == []


def test_two_syncs_at_once_send_nothing_twice(server, monkeypatch):
    be(monkeypatch, IMPATIENT)
    with tracked_run("train", "one", TRACKING) as one, tracked_run("train", "two", TRACKING) as two:
        wait_for(lambda: not one._sending.journal.pending and not two._sending.journal.pending)
        server.stop()
        for run in (one, two):
            log_rounds(run)
    for run in (one, two):
        process_ends(run)
    server.come_back()
    said = []
    threads = [threading.Thread(target=lambda: said.extend(sync(Path()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line for line in said if "points" in line) == [
        "one: 18 points, status FINISHED",
        "two: 18 points, status FINISHED",
    ]
    assert not [line for line in said if "in progress" in line]  # the second one waits for the first
    assert [arrived(server, run.id) for run in (one, two)] == [expected()] * 2


def test_what_is_for_a_run_that_was_deleted_is_set_aside_and_said(server, monkeypatch):
    be(monkeypatch, IMPATIENT)
    run = missed(server)
    server.come_back()
    server.deleted.add(run.id)
    (line,) = sync(Path())
    assert line.startswith(f"mosaic-42: the run is gone from {server.url}; {FOLDER}/gone/")
    assert line.endswith("keeps 18 points")
    assert list(sync(Path())) == []
    assert server.points[run.id] == []


PROXIES = [
    (404, "404 page not found\n"),
    (400, "<html><body>Bad Request</body></html>"),
    (404, '{"message": "no Route matched with those values"}'),
    (404, '{"error_code": "404", "message": "no backend"}'),
    (400, "[1]"),
]


@pytest.mark.parametrize("proxy", PROXIES)
def test_an_outage_that_a_proxy_answers_loses_nothing(server, proxy, monkeypatch, capsys):
    with tracked_run("train", "before", TRACKING):
        pass
    be(monkeypatch, IMPATIENT)
    server.proxy = proxy
    with tracked_run("train", "later", TRACKING) as later:
        log_rounds(later)
    process_ends(later)
    server.proxy = None
    be(monkeypatch, Patience(delays=(0.01,), start=10, silent=0.05))
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        wait_for(lambda: not run._sending.journal.pending)
        server.proxy = proxy
        log_rounds(run)
    process_ends(run)
    assert "lacks" not in capsys.readouterr().err
    with pytest.raises(PipelineError, match="18 points of mosaic-42 are left"):
        list(sync(Path()))
    assert len(all_journals(Path())) == 1
    server.proxy = None
    assert list(sync(Path())) == ["mosaic-42: 18 points, status FINISHED"]
    assert arrived(server, run.id) == expected()
    assert sorted(server.status.values()) == ["FINISHED"] * 3
    assert sorted(len(points) for points in server.points.values() if points) == [18, 18]


@pytest.mark.parametrize(
    ("status", "body", "as_refusal"),
    [
        *((status, body, False) for status, body in PROXIES),
        (400, '{"error_code": "INVALID_PARAMETER_VALUE", "message": "no value"}', True),
        (404, '{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no run"}', True),
    ],
)
def test_an_answer_is_a_refusal_if_it_has_an_error_code_of_mlflows(status, body, as_refusal):
    response = requests.Response()
    response.status_code, response._content = status, body.encode()
    with pytest.raises(MlflowException) as of_call:
        verify_rest_response(response, "/api/2.0/mlflow/runs/log-batch")
    assert passes(of_call.value) is not as_refusal
    assert missing(of_call.value) is (as_refusal and status == 404)


@pytest.mark.parametrize(("body", "as_refusal"), [("<Error/>", False), ("[1]", False), ('{"error_code": "X"}', True)])
def test_so_is_one_to_an_artifact(body, as_refusal):
    response = requests.Response()
    response.status_code, response._content = 400, body.encode()
    assert passes(requests.HTTPError(response=response)) is not as_refusal


def test_an_end_that_is_refused_keeps_the_journal(server, monkeypatch, capsys):
    server.refuses = {"runs/update"}
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        log_rounds(run)
    process_ends(run)
    assert "what is left is kept in .cache/tracking" in capsys.readouterr().err
    with pytest.raises(PipelineError, match="not so; 0 points of mosaic-42 are left"):
        list(sync(Path()))
    server.refuses = set()
    assert list(sync(Path())) == ["mosaic-42: 0 points, status FINISHED"]
    assert server.status[run.id] == "FINISHED"
    assert all_journals(Path()) == []


def test_what_is_for_a_run_that_the_server_refuses_to_open_is_kept(server, monkeypatch):
    be(monkeypatch, IMPATIENT)
    missed(server)
    server.come_back()
    server.refuses = {"runs/get"}
    with pytest.raises(PipelineError, match="18 points of mosaic-42 are left"):
        list(sync(Path()))
    server.refuses = set()
    assert list(sync(Path())) == ["mosaic-42: 18 points, status FINISHED"]


def test_an_end_of_a_run_that_is_gone_sets_the_journal_aside(server, capsys):
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        wait_for(lambda: not run._sending.journal.pending)
        del server.status[run.id]
    assert f"{run.id} is gone from {server.url}" in capsys.readouterr().err
    assert all_journals(Path()) == []
    assert len(list((FOLDER / "gone").iterdir())) == 1


def test_a_sync_sends_all_but_what_cannot_be_taken_and_names_that(server, monkeypatch, capsys):
    be(monkeypatch, IMPATIENT)
    runs = []
    for name in ("one", "two"):
        run = missed(server, name)
        server.come_back()
        runs.append(run)
        if name == "one":
            bad = runs[0]._sending.journal.folder
            Path(f"{bad}.lock").unlink()
            Path(f"{bad}.lock").symlink_to("nowhere")
            capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["sync"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run_command(main)
    said, warned = capsys.readouterr()
    assert ended.value.code == 2
    assert said == "two: 18 points, status FINISHED\n"
    warning, error = warned.splitlines()
    assert warning.startswith(f"warning: MLflow: {bad} cannot be taken")
    assert error.startswith(f"error: {bad} cannot be taken")
    assert [folder.name for folder in all_journals(Path())] == [bad.name]


def test_a_run_goes_on_from_a_part_that_cannot_be_taken_though_nobody_knows_the_server(server, monkeypatch):
    be(monkeypatch, IMPATIENT)
    with tracked_run("train", "mosaic-42", TRACKING) as first:
        wait_for(lambda: not first._sending.journal.pending)
        server.stop()
        log_rounds(first, ROUNDS[:2])
    process_ends(first)
    server.come_back()
    lock = Path(f"{first._sending.journal.folder}.lock")
    lock.unlink()
    lock.symlink_to("nowhere")
    rmtree(FOLDER / "servers")
    with tracked_run("train", "mosaic-42", TRACKING, run_id=first.id) as second:
        log_rounds(second)
    process_ends(second)
    lock.unlink()
    assert list(sync(Path())) == ["mosaic-42: 6 points, status FINISHED", "mosaic-42: 12 points, status FINISHED"]
    assert arrived(server, first.id) == expected()


def test_a_continued_run_waits_while_another_process_sends_its_earlier_part(server, monkeypatch):
    be(monkeypatch, IMPATIENT)
    with tracked_run("train", "mosaic-42", TRACKING) as first:
        wait_for(lambda: not first._sending.journal.pending)
        server.stop()
        log_rounds(first, ROUNDS[:2])
    with first._delivery._changed:
        first._delivery._queue.clear()  # and the lock is kept
    server.come_back()
    with tracked_run("train", "mosaic-42", TRACKING, run_id=first.id) as second:
        log_rounds(second)
    assert server.status[first.id] == "RUNNING"
    assert server.points[first.id] == []
    process_ends(second)
    first._sending.journal.release()
    assert list(sync(Path())) == ["mosaic-42: 6 points, status FINISHED", "mosaic-42: 12 points, status FINISHED"]
    assert arrived(server, first.id) == expected()


class StoppedAt(GracefulStop):
    """Asks a training to stop after so many steps."""

    def __init__(self, trainer, step):
        super().__init__()
        self._trainer, self._step = trainer, step

    @property
    def requested(self):
        return self._trainer.step == self._step

    @property
    def exception(self):
        return KeyboardInterrupt()


def test_what_a_killed_training_could_not_deliver_is_delivered_by_the_one_that_goes_on(
    server, make_trainer, tmp_path, capsys
):
    """The server is lost after the first round, and the training stops in the fourth."""
    names = ("breastmnist", "retinamnist")
    for name in names:
        (TRAINING_DATA / name).mkdir(parents=True)
        meta = {"dataset": name, "source": "phantom", "size": 28, "form": {}, "splits": {}, "findings": []}
        (TRAINING_DATA / name / "meta.json").write_text(json.dumps(meta))
    lineage = Lineage(md5={}, data=dict.fromkeys(names, "d" * 32), weights={}, sources=dict.fromkeys(names, "here"))
    subject = Subject("mosaic", 42, "any", {"train.lr": 0.01}, Path("configs/mosaic.yaml"), "model: {}\n")
    checkpoints = Checkpoints(tmp_path / "checkpoints")

    def trained(trainer, stop):
        with tracked_training(
            "train", "mosaic-42", trainer, checkpoints, stop, TRACKING, subject=subject, lineage=lineage
        ) as run:
            return run.id

    first = make_trainer(names, train__num_rounds=4)
    rounds = iter(range(10))
    run_round = first._row

    def validated():
        if next(rounds) == 1:
            while not any(server.points.values()):
                time.sleep(0.001)  # the first round's points are on their way
            server.well.clear()
        return run_round()

    first._row = validated
    a_round = sum(first.steps.values())
    with pytest.raises(KeyboardInterrupt):
        trained(first, StoppedAt(first, 3 * a_round + 1))
    (run_id,) = server.status
    assert {point["step"] for point in server.points[run_id]} == {1}
    assert "points are kept" in capsys.readouterr().err
    assert not server.impatient

    server.well.set()
    second = make_trainer(names, train__num_rounds=4)
    assert trained(second, GracefulStop()) == run_id
    assert server.status == {run_id: "FINISHED"}
    arrived = {(point["key"], point["step"]) for point in server.points[run_id]}
    keys = {*second.history[0], "images_per_second"}
    assert arrived == {(key, number) for key in keys for number in (1, 2, 3, 4)} | {("train_seconds", 4)}
