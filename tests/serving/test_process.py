"""`mosaic serve` as a process: what docs/serving.md shows is run against it; then it is ended."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from finished import run_stage
from sent import nifti, picture
from sent import test_images as images_of

from mosaic_pipeline.bundle import load_bundle
from mosaic_pipeline.serving import server

ROOT = Path(__file__).parents[2]
SHOWN = (ROOT / "docs/serving.md").read_text(encoding="utf-8").partition("## mosaic register")[0]
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def served(finished: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    command = [sys.executable, "-m", "mosaic_pipeline", "serve", str(finished / "bundles/mosaic-42"), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline()
        yield process, re.search(r"http://127\.0\.0\.1:\d+", said)[0]
    finally:
        process.kill()
        process.communicate()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SHOWN, re.DOTALL | re.MULTILINE)


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("base64")), reason="needs curl and base64")
def test_the_commands_of_the_documentation_are_answered_as_it_says(served, finished, tmp_path):
    bundle = load_bundle(finished / "bundles/mosaic-42", "cpu")
    image, volume = (images_of(finished, name)[0] for name in ("breastmnist", "nodulemnist3d"))
    (tmp_path / "image.png").write_bytes(base64.b64decode(picture(image)))
    (tmp_path / "scan.nii.gz").write_bytes(base64.b64decode(nifti(volume)))
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    printed = [
        subprocess.check_output(["bash", "-c", line.replace(ADDRESS, served[1])], cwd=tmp_path) for line in commands
    ]
    of_image, of_scan, health, model = map(json.loads, printed)
    (example,) = map(json.loads, blocks("json"))
    assert list(of_image) == list(example)
    for answer, images in ((of_image, image), (of_scan, volume)):
        expected = bundle.predict(images[None], answer["dataset"])
        np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-6)
    assert health["model"] == model["md5"] == of_image["model"]


def test_the_program_of_the_documentation_runs(served):
    (program,) = blocks("python")
    printed = subprocess.check_output([sys.executable, "-c", program.replace(ADDRESS, served[1])], text=True)
    assert printed.startswith("64 ")


def test_an_address_that_is_taken_is_one_line_before_anything_is_loaded(served):
    port = served[1].rpartition(":")[2]
    command = [sys.executable, "-m", "mosaic_pipeline", "serve", "no such bundle", "--port", port]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr == f"error: port {port} of 127.0.0.1: Address already in use; say another --port or --host\n"


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
def test_an_address_that_others_reach_is_warned_of(finished, monkeypatch, host, warned):
    monkeypatch.setattr(server, "serve", lambda app, opened: opened.close())
    ended = run_stage(finished, f"mosaic serve bundles/mosaic-42 --host {host} --port 0")
    assert ended.status == 0, ended.stderr
    assert ended.stderr == (f"warning: {host} can be reached from elsewhere, and anybody may ask\n" if warned else "")


def test_sigterm_ends_it_after_the_answer_in_work(served, finished):
    process, address = served
    images = np.concatenate([images_of(finished, "nodulemnist3d")] * 2).tolist()
    body = json.dumps({"dataset": "nodulemnist3d", "images": images}).encode()
    host, port = address.removeprefix("http://").split(":")
    head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(f"{head}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100")  # it waits for the body
        os.kill(process.pid, signal.SIGTERM)
        connection.sendall(body)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert process.wait(60) == 128 + signal.SIGTERM
    log = process.stderr.read()
    assert log.splitlines()[-1] == "terminated (SIGTERM)"
    assert "Traceback" not in log
