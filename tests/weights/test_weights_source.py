import hashlib
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.weights.google_npz import Layout, check_npz
from pipeline.weights.source import locate_npz

LAYOUT = Layout(width=16, depth=1, heads=2, mlp_width=32, patch_size=4, tokens=5)


def npz_bytes(value):
    buffer = io.BytesIO()
    np.savez(buffer, weights=np.full(1000, value))
    return buffer.getvalue()


BODY, OTHER = npz_bytes(1.0), npz_bytes(2.0)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    """A repository root elsewhere than the working directory, as in a queued experiment, and no waiting."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))
    (tmp_path / "repository").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr("time.sleep", lambda _: None)
    return tmp_path / "repository"


@pytest.fixture
def server():
    """A server that gives the listed answers (status, body, bytes left off), one a request, the last for ever."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.requests += 1
            answers = self.server.answers
            status, body, cut = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) - cut])

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.answers, httpd.requests = [(200, BODY, 0)], 0
    httpd.url = f"http://127.0.0.1:{httpd.server_port}/models/ViT.npz?generation=3"
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()


def cached(repository):
    return sorted(path.name for path in (repository / ".cache/weights").iterdir())


def test_no_weights_means_a_random_file_that_fits_the_model(repository):
    source = locate_npz(None, None, LAYOUT)
    assert source.name == "random"
    assert source.path.is_relative_to(repository)
    check_npz(source.path, LAYOUT, "vit")
    assert source.sha256 == hashlib.sha256(source.path.read_bytes()).hexdigest()


def test_a_relative_path_starts_at_the_repository_and_an_absolute_one_stands(repository, tmp_path):
    (repository / "vit.npz").write_bytes(BODY)
    (tmp_path / "absolute.npz").write_bytes(OTHER)
    assert locate_npz("vit.npz", None, LAYOUT).sha256 == SHA256
    assert locate_npz(str(tmp_path / "absolute.npz"), None, LAYOUT).path == tmp_path / "absolute.npz"


def test_a_file_is_named_without_its_folder(repository):
    (repository / "vit.npz").write_bytes(BODY)
    assert locate_npz(str(repository / "vit.npz"), None, LAYOUT).name == "vit.npz"


def test_a_missing_file_is_named(repository):
    with pytest.raises(PipelineError, match=r"^model\.weights: .*none\.npz: no such file"):
        locate_npz("none.npz", None, LAYOUT)


def test_a_file_of_another_sha256_is_refused_saying_expected_and_found(repository):
    (repository / "vit.npz").write_bytes(OTHER)
    with pytest.raises(PipelineError, match=f"sha256 is {hashlib.sha256(OTHER).hexdigest()}, expected {SHA256}"):
        locate_npz("vit.npz", SHA256, LAYOUT)


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_url_is_fetched_once_and_kept_in_the_repository(server, repository, sha256):
    first, second = locate_npz(server.url, sha256, LAYOUT), locate_npz(server.url, sha256, LAYOUT)
    assert first == second
    assert first.path.read_bytes() == BODY
    assert first.path.is_relative_to(repository / ".cache/weights")
    assert (first.name, first.sha256) == ("ViT.npz", SHA256)
    assert server.requests == 1


@pytest.mark.parametrize(
    "bad", [(503, b"busy", 0), (200, BODY, 10), (200, OTHER, 0)], ids=["503 first", "body cut", "wrong bytes"]
)
def test_a_transfer_that_fails_once_is_tried_again(server, repository, bad):
    server.answers = [bad, (200, BODY, 0)]
    assert locate_npz(server.url, SHA256, LAYOUT).path.read_bytes() == BODY
    assert server.requests == 2
    assert len(cached(repository)) == 1


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ((503, b"busy", 0), "503"),
        ((200, BODY, 10), "(Connection broken|IncompleteRead)"),
        ((200, OTHER, 0), SHA256),
        ((200, b"<html>sorry</html>", 0), "no npz file"),
    ],
    ids=["503", "body cut", "wrong bytes", "a page"],
)
def test_a_transfer_that_fails_for_ever_is_one_line_and_leaves_nothing(server, repository, bad, said):
    server.answers = [bad]
    with pytest.raises(PipelineError, match=rf"^model\.weights: http://[^\n]*{said}[^\n]*$"):
        locate_npz(server.url, SHA256, LAYOUT)
    assert server.requests == 4
    assert cached(repository) == []


def test_a_page_instead_of_weights_is_not_kept_without_a_sha256_either(server, repository):
    server.answers = [(200, b"<html>sorry</html>", 0)]
    with pytest.raises(PipelineError, match="no npz file"):
        locate_npz(server.url, None, LAYOUT)
    assert cached(repository) == []


def test_a_wrong_address_is_not_tried_again(server):
    server.answers = [(404, b"", 0)]
    with pytest.raises(PipelineError, match="the server answered 404"):
        locate_npz(server.url, None, LAYOUT)
    assert server.requests == 1
