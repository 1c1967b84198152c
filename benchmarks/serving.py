"""What answering over HTTP costs: from start to the first answer, time by images at once, and memory.

`mosaic serve` beside `mlflow models serve` with the same bundle, asked in turn by the same requests, and beside the
forward pass alone.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result import Result
from mosaic_pipeline.bundle import Bundle, load_bundle

SIZES = (1, 64)
REQUESTS = 9  # of each kind and repetition, in turn
PATIENCE = 180  # seconds that a server may take to start
NAMES = ("mosaic serve", "mlflow models serve")


@dataclass(frozen=True)
class Served:
    """A server that answers: where, and how long it took to, by the clock and of the processor."""

    group: int
    address: str
    seconds: float
    cpu_seconds: float

    def megabytes(self) -> float:
        """Return the largest memory so far of that process of its group which has most, in MB."""
        return max(_peak(int(file.name)) for file in Path("/proc").glob("[0-9]*") if _is_of(int(file.name), self.group))


def run(repeats: int, folder: Path) -> list[Result]:
    """Start both servers of a bundle anew for each repetition, and ask each for images and volumes."""
    bundle = load_bundle(folder, "cpu")
    started: dict[str, dict[str, list[float]]] = {name: {} for name in NAMES}
    latencies: dict[tuple[str, int], dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        registered = _register(bundle, Path(scratch))
        for _ in range(repeats):
            with ExitStack() as running:
                both = {
                    NAMES[0]: running.enter_context(_ours(folder)),
                    NAMES[1]: running.enter_context(_mlflows(registered)),
                }
                for dataset, size in _questions(bundle):
                    row = latencies.setdefault((dataset, size), {})
                    for name, seconds in _ask_in_turn(bundle, both, dataset, size).items():
                        row.setdefault(name, []).extend(1e3 * each for each in seconds)
                for name, server in both.items():
                    measured = {
                        "start, s": server.seconds,
                        "start, s of CPU": server.cpu_seconds,
                        "peak memory, MB": server.megabytes(),
                    }
                    for column, value in measured.items():
                        started[name].setdefault(column, []).append(value)
    asked = [
        {"dataset": dataset, "images": size} | {f"{name}, ms": found for name, found in row.items()}
        for (dataset, size), row in latencies.items()
    ]
    described = [{"server": name} | columns for name, columns in started.items()]
    return [
        Result(
            "serving", described, ["From the command to the first answer of /health; resident memory at its largest."]
        ),
        Result("latency", asked, [f"{REQUESTS} requests for each start, asked in turn; arrays as JSON."]),
    ]


def _questions(bundle: Bundle) -> Iterator[tuple[str, int]]:
    for dimension in (2, 3):
        for name in [name for name, dataset in bundle.datasets.items() if dataset.dimension == dimension][:1]:
            for size in SIZES:
                yield name, size


def _ask_in_turn(bundle: Bundle, servers: Mapping[str, Served], dataset: str, size: int) -> dict[str, list[float]]:
    """Return the seconds of each request to each server, and of the model's answer alone."""
    shape = bundle.datasets[dataset].image_shape(bundle.known(dataset).preparation.size)
    images = np.random.default_rng(0).integers(0, 256, (size, *shape), np.uint8)
    rows = [{"dataset": dataset, "image": image.tolist()} for image in images]
    bodies = {
        NAMES[0]: ("/predict", json.dumps({"dataset": dataset, "images": images.tolist()}).encode()),
        NAMES[1]: ("/invocations", json.dumps({"dataframe_records": rows}).encode()),
    }
    found: dict[str, list[float]] = {name: [] for name in ("the model alone", *servers)}
    for number in range(REQUESTS + 1):
        started = time.perf_counter()
        bundle.predict(images, dataset, batch_size=size)
        seconds = {"the model alone": time.perf_counter() - started}
        for name, server in servers.items():
            path, body = bodies[name]
            seconds[name] = _seconds(server.address + path, body)
        if number:  # the first warms up
            for name, each in seconds.items():
                found[name].append(each)
    return found


def _seconds(url: str, body: bytes) -> float:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    started = time.perf_counter()
    with urllib.request.urlopen(request) as answered:
        answered.read()
    return time.perf_counter() - started


def _ours(folder: Path) -> Any:
    port = _free_port()
    command = [sys.executable, "-m", "mosaic_pipeline", "serve", str(folder), "--device", "cpu", "--port", str(port)]
    return _started(command, port, dict(os.environ))


def _mlflows(registered: Mapping[str, str]) -> Any:
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/benchmark/1", "--env-manager", "local"]
    return _started([*command, "--port", str(port)], port, os.environ | registered)


def _register(bundle: Bundle, folder: Path) -> dict[str, str]:
    """Register a bundle in a store of its own; return what names that in the environment."""
    command = [sys.executable, "-m", "mosaic_pipeline", "register", str(bundle.folder.resolve()), "--name", "benchmark"]
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    subprocess.run(command, cwd=folder, env=os.environ | _importable() | store, check=True, stdout=subprocess.DEVNULL)
    return _importable() | store


def _importable() -> dict[str, str]:
    """Return where both servers find this checkout's library, and the command uvicorn."""
    path = [str(Path(__file__).parents[1] / "pipeline"), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
    }


@contextmanager
def _started(command: list[str], port: int, environment: dict[str, str]) -> Iterator[Served]:
    """Start a server in a group of processes of its own, wait until it is healthy, and end it all in the end."""
    address, started = f"http://127.0.0.1:{port}", time.perf_counter()
    process = subprocess.Popen(
        command,
        env=environment | _importable(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not _healthy(address):
            if process.poll() is not None or time.perf_counter() - started > PATIENCE:
                raise RuntimeError(f"{' '.join(command)} does not answer")
            time.sleep(0.02)
        yield Served(process.pid, address, time.perf_counter() - started, _cpu_seconds(process.pid))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answered:
            return bool(answered.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def _cpu_seconds(group: int) -> float:
    """Return what the processes of a group have taken of the processor, those that ended before included."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*"):
        if _is_of(int(file.name), group):
            ticks += sum(map(int, (file / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _is_of(pid: int, group: int) -> bool:
    try:
        return os.getpgid(pid) == group
    except ProcessLookupError:
        return False


def _peak(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
