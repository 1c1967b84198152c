"""Fetching a dataset's npz: retried, verified, whole or not at all; against a local server and folder."""

import hashlib
import io
import sys
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from mosaic_pipeline import download
from mosaic_pipeline.data import official
from mosaic_pipeline.data.sources import fetch
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.download import PATIENCE
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.params import Data, Phantom

BREAST = MEDMNIST["breastmnist"]
PHANTOM = Phantom(train=6, val=2, test=3)
COUNTS = {"train": 6, "val": 2, "test": 3}


def official_bytes(dataset=BREAST, size=28):
    rng = np.random.default_rng(0)
    content = {}
    for split, count in COUNTS.items():
        content[f"{split}_images"] = rng.integers(0, 256, (count, *dataset.image_shape(size)), dtype=np.uint8)
        content[f"{split}_labels"] = rng.integers(0, 2, (count, dataset.label_columns), dtype=np.uint8)
    file = io.BytesIO()
    np.savez_compressed(file, **content)
    return file.getvalue()


FILE = official_bytes()
WRONG = b"not the file"


def data_params(mirror, **changes):
    defaults = {
        "source": "mirror",
        "verify": True,
        "allow_leakage": False,
        "size_2d": 28,
        "size_3d": 28,
        "train_limit": None,
        "external": [],
        "corruptions": [],
        "own": {},
    }
    return Data(**defaults | {"mirror": mirror, "eval_limit": None, "datasets": ["breastmnist"]} | changes)


class Server:
    """Answers each request by the next of `answers` (status, body, bytes of it really sent), the last one for ever."""

    def __init__(self):
        self.answers = []
        self.requested = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, body, sent = server.answers[min(len(server.requested), len(server.answers) - 1)]
                server.requested.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:sent])

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, *answers):
        self.answers = [(status, body, len(body) if cut is None else cut) for status, body, cut in answers]


OK = (200, FILE, None)
BUSY = (503, b"come back later", None)
CUT = (200, FILE, len(FILE) // 2)


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    """The small file is the official one, nobody waits, and no proxy stands before the local server."""
    md5 = hashlib.md5(FILE).hexdigest()
    monkeypatch.setattr(official, "published", lambda dataset, size: official.Published("http://nowhere.invalid", md5))
    slept = []
    monkeypatch.setattr(download.time, "sleep", slept.append)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return types.SimpleNamespace(slept=slept)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "raw" / "breastmnist.npz"


def assert_refused(data, target, message):
    """Fetching fails in one line, and neither the file nor a temporary one is left."""
    with pytest.raises(PipelineError, match=message) as error:
        fetch(BREAST, data, PHANTOM, target)
    assert "\n" not in str(error.value)
    assert list(target.parent.iterdir()) == []


def assert_fetched(data, target):
    """The file arrives whole and alone."""
    assert fetch(BREAST, data, PHANTOM, target) == COUNTS
    assert list(target.parent.iterdir()) == [target]
    assert target.read_bytes() == FILE


def test_a_mirror_url_is_asked_once_for_the_official_name(server, target):
    server.answer(OK)
    assert_fetched(data_params(f"{server.url}/medmnist/"), target)
    assert server.requested == ["/medmnist/breastmnist.npz"]


def test_the_official_name_carries_the_size(server, target):
    server.answer((200, official_bytes(size=64), None))
    fetch(BREAST, data_params(server.url, size_2d=64, verify=False), PHANTOM, target)
    assert server.requested == ["/breastmnist_64.npz"]


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_a_busy_server_is_asked_again_with_exponential_back_off(server, target, surroundings, status):
    server.answer((status, b"", None), (status, b"", None), (status, b"", None), OK)
    assert_fetched(data_params(server.url), target)
    assert len(server.requested) == 4
    assert surroundings.slept == [1, 2, 4]


def test_a_retry_says_on_stderr_what_happened_and_what_comes(server, target, capsys):
    server.answer(BUSY, OK)
    fetch(BREAST, data_params(server.url), PHANTOM, target)
    assert capsys.readouterr().err.startswith(
        f"retrying in 1 s: {server.url}/breastmnist.npz: the server answered 503 Service Unavailable"
    )


def test_a_server_that_stays_busy_is_an_error(server, target, surroundings):
    server.answer(BUSY)
    assert_refused(data_params(server.url), target, r"breastmnist\.npz: the server answered 503 .*try again later")
    assert len(server.requested) == len(surroundings.slept) + 1 == len(PATIENCE.delays) + 1


@pytest.mark.parametrize("verify", [True, False])
def test_a_body_that_is_cut_is_fetched_again(server, target, verify):
    server.answer(CUT, OK)
    assert_fetched(data_params(server.url, verify=verify), target)


def test_a_body_that_is_always_cut_is_an_error(server, target):
    server.answer(CUT)
    assert_refused(data_params(server.url), target, r"breastmnist\.npz: the connection failed \(.*IncompleteRead")


def test_wrong_bytes_once_are_fetched_again(server, target):
    server.answer((200, WRONG, None), OK)
    assert_fetched(data_params(server.url), target)


def test_the_same_wrong_bytes_twice_are_an_error_without_further_tries(server, target):
    server.answer((200, WRONG, None))
    wrong, right = hashlib.md5(WRONG).hexdigest(), hashlib.md5(FILE).hexdigest()
    assert_refused(
        data_params(server.url),
        target,
        rf"/breastmnist\.npz: md5 is {wrong}, but MedMNIST's official file has {right}; `data\.verify: false` accepts",
    )
    assert len(server.requested) == 2


def test_ever_changing_wrong_bytes_are_an_error_in_the_end(server, target):
    server.answer(*((200, bytes([number]), None) for number in range(20)))
    assert_refused(data_params(server.url), target, r"md5 is .*official file has")
    assert len(server.requested) == len(PATIENCE.delays) + 1


def test_without_verification_the_layout_is_still_checked(server, target):
    server.answer((200, WRONG, None))
    assert_refused(data_params(server.url, verify=False), target, rf"^{server.url}/breastmnist\.npz: not an intact npz")


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_file_that_is_not_there_is_an_error_at_once(server, target, status):
    server.answer((status, b"", None))
    assert_refused(data_params(server.url), target, rf"/breastmnist\.npz: the server answered {status} .*data\.mirror")
    assert len(server.requested) == 1


def test_an_unreachable_server_is_an_error_that_says_why(server, target, surroundings):
    closed = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    port = closed.server_port
    closed.server_close()
    message = rf"http://127\.0\.0\.1:{port}/breastmnist\.npz: the connection failed \(.*refused.*\); check the address"
    assert_refused(data_params(f"http://127.0.0.1:{port}"), target, message)
    assert len(surroundings.slept) == len(PATIENCE.delays)


def test_an_address_that_is_none_is_an_error_at_once(target, surroundings):
    assert_refused(data_params("http://"), target, "not a URL that can be fetched")
    assert surroundings.slept == []


def test_a_failure_leaves_the_file_that_stood_there(server, target):
    target.parent.mkdir()
    target.write_bytes(b"the old file")
    server.answer((404, b"", None))
    with pytest.raises(PipelineError):
        fetch(BREAST, data_params(server.url), PHANTOM, target)
    assert target.read_bytes() == b"the old file"


def test_what_a_killed_run_left_is_removed(server, target):
    target.parent.mkdir()
    (target.parent / ".breastmnist.npz.x1y2.npz").write_bytes(b"half")
    server.answer(OK)
    assert_fetched(data_params(server.url), target)


def test_zenodo_is_asked_at_the_published_address(server, target, monkeypatch):
    published = official.Published(f"{server.url}/files/breastmnist.npz?download=1", hashlib.md5(FILE).hexdigest())
    monkeypatch.setattr(official, "published", lambda dataset, size: published)
    server.answer(BUSY, OK)
    assert_fetched(data_params(None, source="zenodo"), target)
    assert server.requested == ["/files/breastmnist.npz?download=1"] * 2


def test_a_file_from_zenodo_is_verified_whatever_verify_says(server, target, monkeypatch):
    monkeypatch.setattr(
        official, "published", lambda dataset, size: official.Published(f"{server.url}/x.npz", "0" * 32)
    )
    server.answer(OK)
    assert_refused(data_params(None, source="zenodo", verify=False), target, r"md5 is .* has 0{32}; try again later")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "breastmnist.npz").write_bytes(FILE)
    return folder


def test_a_mirror_folder_is_copied_from_and_stays_as_it_is(folder, target):
    assert_fetched(data_params(str(folder)), target)
    target.write_bytes(b"changed later")
    assert (folder / "breastmnist.npz").read_bytes() == FILE


def test_a_relative_mirror_is_meant_from_the_repository_also_in_a_queued_copy(folder, target, monkeypatch, tmp_path):
    (tmp_path / "repository").mkdir()
    (tmp_path / "queued" / "copy").mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))
    monkeypatch.chdir(tmp_path / "queued" / "copy")
    assert_fetched(data_params("../mirror"), target)


def test_a_mirrors_own_file_is_refused_with_the_way_to_accept_it(folder, target):
    own = official_bytes(size=28)[:-1] + b"!"
    (folder / "breastmnist.npz").write_bytes(own)
    found, expected = hashlib.md5(own).hexdigest(), hashlib.md5(FILE).hexdigest()
    assert_refused(
        data_params(str(folder)),
        target,
        rf"^{folder}/breastmnist\.npz: md5 is {found}, .* has {expected}; `data\.verify: false` accepts",
    )


def test_a_mirrors_own_file_is_accepted_without_verification(folder, target, monkeypatch):
    monkeypatch.setattr(official, "published", lambda dataset, size: official.Published("", "0" * 32))
    assert_fetched(data_params(str(folder), verify=False), target)


def test_a_mirrors_own_file_in_another_layout_is_refused_by_its_own_name(folder, target):
    (folder / "breastmnist.npz").write_bytes(official_bytes(MEDMNIST["retinamnist"]))
    assert_refused(
        data_params(str(folder), verify=False),
        target,
        rf"^{folder}/breastmnist\.npz: train_images is uint8 \[6,28,28,3\]; breastmnist at 28 has",
    )


@pytest.mark.parametrize("missing", ["file", "folder"])
def test_a_missing_mirror_file_is_named(folder, target, missing):
    (folder / "breastmnist.npz").unlink()
    if missing == "folder":
        folder.rmdir()
    assert_refused(data_params(str(folder)), target, rf"^{folder}/breastmnist\.npz: No such file.*data\.mirror must be")


def test_a_mirror_in_nobodys_home_is_one_line(target):
    message = r"~nosuchuser/x/breastmnist\.npz: No such file.*data\.mirror must be a folder"
    assert_refused(data_params("~nosuchuser/x"), target, message)


def test_a_folder_with_the_name_of_the_file_is_one_line(folder, target):
    (folder / "breastmnist.npz").unlink()
    (folder / "breastmnist.npz").mkdir()
    assert_refused(data_params(str(folder)), target, r"breastmnist\.npz: Is a directory; data\.mirror must be a folder")


@pytest.fixture
def phantom_module(monkeypatch):
    """A stand-in for the generator, which records what it was asked for."""
    module = types.ModuleType("mosaic_pipeline.data.phantom")
    module.asked = []

    def write_phantom(path, dataset, size, counts):
        module.asked.append((dataset.name, size, counts))
        path.write_bytes(module.content)

    module.write_phantom, module.content = write_phantom, FILE
    monkeypatch.setitem(sys.modules, "mosaic_pipeline.data.phantom", module)
    return module


def test_phantoms_are_generated_in_the_configured_number_and_size(phantom_module, target):
    assert_fetched(data_params(None, source="phantom"), target)
    assert phantom_module.asked == [("breastmnist", 28, COUNTS)]


def test_a_phantom_in_a_wrong_layout_is_refused_by_its_final_name(phantom_module, target):
    phantom_module.content = WRONG
    assert_refused(data_params(None, source="phantom"), target, rf"^{target}: not an intact npz")
