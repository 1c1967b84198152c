"""A training beside an MLflow server that hangs or is gone: it goes on, is killed, goes on, and no point is missing."""

import json
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from mosaic_pipeline.command import GracefulStop
from mosaic_pipeline.layout import TRAINING_DATA
from mosaic_pipeline.lineage import Lineage
from mosaic_pipeline.params import Tracking
from mosaic_pipeline.tracking import run as run_module
from mosaic_pipeline.tracking import tracked_run
from mosaic_pipeline.tracking.delivery import Patience
from mosaic_pipeline.tracking.subject import Subject
from mosaic_pipeline.tracking.training import tracked_training
from mosaic_pipeline.training.checkpoint import Checkpoints

TRACKING = Tracking(experiment="mosaic", system_metrics=False)


class Server:
    """As much of MLflow's REST interface as a training uses; while it is not `well`, requests wait and are lost."""

    def __init__(self):
        self.points = defaultdict(list)  # by run, as they came
        self.status = {}
        self.well = threading.Event()
        self.well.set()
        self.impatient = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                address = urlsplit(self.path)
                self._answer(address.path, {key: value[0] for key, value in parse_qs(address.query).items()})

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(self.path, json.loads(body))

            def _answer(self, path, request):
                if not server.well.is_set():
                    if not server.well.wait(10):
                        server.impatient = True  # somebody waited for this answer
                    self.close_connection = True
                    return
                answer = json.dumps(server.answer(path.rpartition("/mlflow/")[2], request)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, what, request):
        if what == "experiments/get-by-name":
            return {"experiment": {"experiment_id": "1", "name": "mosaic", "lifecycle_stage": "active"}}
        if what in ("runs/create", "runs/get"):
            run_id = request.get("run_id") or f"{len(self.status):032x}"
            self.status.setdefault(run_id, "RUNNING")
            latest = {point["key"]: point for point in self.points[run_id]}  # in the order of their steps
            info = {"run_id": run_id, "run_name": "mosaic-42", "experiment_id": "1", "lifecycle_stage": "active"}
            return {"run": {"info": info, "data": {"metrics": list(latest.values())}}}
        if what == "runs/update":
            self.status[request["run_id"]] = request["status"]
            return {"run_info": {"run_id": request["run_id"], "status": request["status"]}}
        if what == "runs/log-batch":
            self.points[request["run_id"]] += request.get("metrics", [])
        return {}


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    server = Server()
    for key, value in {
        "MLFLOW_TRACKING_URI": server.url,
        "NO_PROXY": "127.0.0.1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    }.items():
        monkeypatch.setenv(key, value)
    # The end of a training that was told to stop: what hangs then is left to the next one.
    monkeypatch.setattr(run_module, "PATIENCE", Patience(delays=(0.01,), interrupted=0.01))
    yield server
    server.well.set()
    server.http.shutdown()
    server.http.server_close()


def test_metrics_are_taken_from_a_stage_while_the_server_hangs_and_are_there_in_the_end(server):
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        server.well.clear()
        for step in (1, 2, 3):
            run.log_metrics({"loss": 1 / step}, step)
            run.set_tags({"step": str(step)})
        assert server.points[run.id] == []
        assert not server.impatient  # nobody waited for it
        server.well.set()
    assert [point["step"] for point in server.points[run.id]] == [1, 2, 3]
    assert server.status[run.id] == "FINISHED"


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
    assert "lacks" in capsys.readouterr().err
    assert not server.impatient

    server.well.set()
    second = make_trainer(names, train__num_rounds=4)
    assert trained(second, GracefulStop()) == run_id
    assert server.status == {run_id: "FINISHED"}
    arrived = {(point["key"], point["step"]) for point in server.points[run_id]}
    keys = {*second.history[0], "images_per_second"}
    assert arrived == {(key, number) for key in keys for number in (1, 2, 3, 4)} | {("train_seconds", 4)}
