"""Make the README's pictures, docs/images/*.png, from reports/ and mlflow.db: `python -m docs.screenshots`.

Needs Chromium on PATH and a finished `dvc repro`; uses the loopback alone. MLflow shows a copy of the database, in
which the columns of its table of runs are chosen; the database itself is only read.
"""

import argparse
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image

from docs.browser import open_page
from mosaic_pipeline.atomic import atomic
from mosaic_pipeline.command import run_command
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import REPORTS
from mosaic_pipeline.params import load_params

IMAGES = Path("docs/images")
DATABASE = Path("mlflow.db")
WIDTH = 1280  # px
COLOURS = 96  # of a picture's palette: a third of the bytes, and no difference to see
START_UP = 120  # seconds that MLflow's server has to answer
# Columns of the table of runs, and what MLflow opens by itself above and beside a page.
COLUMNS = ("test/mean_acc", "test/mean_auc", "train_loss", "images_per_second")
VIEW = {
    "selectedColumns": [f"metrics.`{name}`" for name in COLUMNS],
    "orderByKey": "metrics.`test/mean_auc`",
    "orderByAsc": False,
}
VIEW_NAME = "readme"
IN_THE_WAY = "[data-component-id$='shared_view.dismiss'], [data-component-id$='chat_panel.close']"
WORKFLOW = {"workflowType": "machine_learning"}
# What makes each page ready, and what is pressed on it until it is.
TABLE = """document.querySelectorAll(".ag-row").length > 0"""
RUN = """document.body.innerText.includes("md5.model") && document.body.innerText.includes("{name}-")"""
# Of two runs the parameters and metrics that differ, without plots.
COMPARISON = """document.querySelector("button[role=switch]") !== null"""
PLOTS = "[role=button][aria-expanded=true]:has([aria-label$=Visualizations])"
SAME_TOO = "button[role=switch][aria-checked=false]"


def main() -> None:
    """Shoot the report's first screen, and MLflow's table of runs, page of a training and comparison of two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    params = load_params()
    report = REPORTS / "index.html"
    for path in (report, DATABASE):
        if not path.is_file():
            raise PipelineError(f"{path}: no such file; `dvc repro` makes it")
    with open_page() as page:
        loaded = "document.readyState === 'complete'"
        write(IMAGES / "report.png", page.shoot(report.resolve().as_uri(), WIDTH, 800, loaded))
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / DATABASE.name
            number = copy_with_view(DATABASE, copy, params.tracking.experiment)
            names = [f"{variant}-{params.seeds[0]}" for variant in params.ablation.run[:2]]
            runs = [find_training(copy, name) for name in names]
            with serve(copy) as address:
                table = f"{address}/#/experiments/{number}/runs"
                url = f"{table}?{urlencode({'viewStateShareKey': VIEW_NAME} | WORKFLOW)}"
                write(IMAGES / "mlflow.png", page.shoot(url, WIDTH, 600, alone(TABLE)))
                url = f"{table}/{runs[0]}?{urlencode(WORKFLOW)}"
                write(IMAGES / "mlflow_run.png", page.shoot(url, WIDTH, 1000, alone(RUN.replace("{name}", names[0]))))
                compared = {"runs": json.dumps(runs), "experiments": json.dumps([str(number)])}
                url = f"{address}/#/compare-runs?{urlencode(compared | WORKFLOW)}"
                ready = alone(COMPARISON, PLOTS, SAME_TOO)
                write(IMAGES / "mlflow_compare.png", page.shoot(url, WIDTH, 1000, ready))


def alone(ready: str, *pressed: str) -> str:
    """Return JavaScript that is true once `ready` is and nothing is left to press: these buttons, and what is open."""
    return f"""(() => {{
      const ready = {ready};
      const buttons = [...document.querySelectorAll({json.dumps(", ".join((IN_THE_WAY, *pressed)))})];
      buttons.forEach((button) => button.click());
      return ready && !buttons.length;
    }})()"""


def write(path: Path, picture: bytes) -> None:
    """Write a PNG picture with a palette, and say how large it is."""
    with atomic(path) as temporary:
        temporary.write_bytes(picture)
        shrink(temporary)
    print(f"{path}: {path.stat().st_size // 1000} kB")


def shrink(path: Path) -> None:
    """Reduce a PNG file to a palette, in place."""
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)


def copy_with_view(database: Path, copy: Path, experiment: str) -> int:
    """Copy an MLflow database, give the experiment in the copy a shared view, and return the experiment's number."""
    source = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
    with closing(source), closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        found = target.execute("SELECT experiment_id FROM experiments WHERE name = ?", (experiment,)).fetchone()
        if found is None:
            raise PipelineError(f"{database}: no experiment {experiment}; `dvc repro` makes it")
        tag = (f"mlflow.sharedViewState.{VIEW_NAME}", json.dumps(VIEW), found[0])
        target.execute("INSERT INTO experiment_tags (key, value, experiment_id) VALUES (?, ?, ?)", tag)
        target.commit()
        return found[0]


def find_training(database: Path, name: str) -> str:
    """Return the id of the latest training of this name that was tested."""
    query = """SELECT runs.run_uuid FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid
        JOIN latest_metrics AS tested ON tested.run_uuid = runs.run_uuid
        WHERE runs.name = ? AND lifecycle_stage = 'active' AND tags.key = 'stage' AND tags.value = 'train'
        AND tested.key = 'test/mean_acc' ORDER BY start_time DESC"""
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute(query, (name,)).fetchone()
    if found is None:
        raise PipelineError(f"{DATABASE}: no training {name} with its test; `dvc repro` makes both")
    return str(found[0])


@contextmanager
def serve(database: Path) -> Iterator[str]:
    """Run MLflow's server for a database on a free port of the loopback; yields its address once it answers."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database.as_posix()}"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment, quiet = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}, subprocess.DEVNULL
    server = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        deadline = time.monotonic() + START_UP
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise PipelineError(f"mlflow: no answer on port {port} in {START_UP} s; does `make ui` work?")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # the server and its workers
        server.wait()


def _answers(port: int) -> bool:
    with closing(HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False


if __name__ == "__main__":
    run_command(main)
