"""What MLflow costs a training: beside a server that answers, one that hangs and one that is gone.

A run of rounds that take a known time, in a fresh process, against a real `mlflow server`, which is stopped (SIGSTOP:
it accepts and does not answer), killed, and started again for `python -m stages.sync`.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.result import Result

ROUNDS, SECONDS, KEYS = 100, 0.2, 50  # 20 s, with as many curves as a few datasets have
START = 180  # seconds that a server may take to start
REPOSITORY = Path(__file__).parents[1]

TRAINING = f"""
import sys, time
from mosaic_pipeline.params import Tracking
from mosaic_pipeline.tracking import lifecycle, tracked_run

lifecycle.prepare()  # imports of MLflow, which are no matter of the server
started = time.perf_counter()
with tracked_run("train", sys.argv[1], Tracking(experiment="mosaic", system_metrics=False)) as run:
    begun = time.perf_counter()
    handing = 0.0
    for step in range(1, {ROUNDS} + 1):
        time.sleep({SECONDS})
        now = time.perf_counter()
        run.log_metrics({{f"metric {{key}}": step / key for key in range(1, {KEYS} + 1)}}, step)
        handing += time.perf_counter() - now
    trained = time.perf_counter()
ended = time.perf_counter()
print(begun - started, handing, ended - trained, (ended - started) / (trained - begun - handing) - 1)
"""


def run(repeats: int) -> Result:
    """Train beside a server in each state; sync in the end, and count the points that it has."""
    rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    points: list[int] = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            port = _free_port()
            with _server(folder, port) as group:
                _measure(folder, port, "first", rows["server answers"])
                os.killpg(group, signal.SIGSTOP)
                _measure(folder, port, "hung", rows["server hangs"])
                os.killpg(group, signal.SIGCONT)
            _measure(folder, port, "gone", rows["server is gone"])
            with _server(folder, port):
                started = time.perf_counter()
                said = _run(folder, port, "-m", "stages.sync")
                rows["python -m stages.sync"]["seconds in all"].append(time.perf_counter() - started)
                sent = [line.split()[1] for line in said.splitlines() if " points" in line]
                points.append(sum(int(each.replace(",", "")) for each in sent))
    notes = [
        f"{ROUNDS} rounds of {SECONDS} s with {KEYS} points each; the share is of the time of the rounds.",
        f"sync sent {points} points: the {2 * ROUNDS * KEYS:,} of two runs, and what was left of the first.",
    ]
    return Result("tracking", [{"beside": name} | dict(row) for name, row in rows.items()], notes)


def _measure(folder: Path, port: int, name: str, row: dict[str, list[float]]) -> None:
    start, handing, end, share = (float(each) for each in _run(folder, port, "-c", TRAINING, name).split()[-4:])
    row["start, s"].append(start)
    row["a round, ms"].append(handing / ROUNDS * 1000)
    row["end, s"].append(end)
    row["added, %"].append(share * 100)


def _run(folder: Path, port: int, *arguments: str) -> str:
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "NO_PROXY": "127.0.0.1",
        "DVC_ROOT": str(folder),
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'pipeline'}",
    }
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def _server(folder: Path, port: int) -> Iterator[int]:
    """Run MLflow's server on SQLite and yield its process group; kill it in the end."""
    command = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = [
        "--backend-store-uri",
        f"sqlite:///{folder}/server.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    with open(folder / "server.log", "ab") as log:
        process = subprocess.Popen([sys.executable, *command, *store], stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + START
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "server.log").read_text(encoding="utf-8")[-2000:])
            time.sleep(0.1)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]
