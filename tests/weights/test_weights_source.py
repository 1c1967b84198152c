import hashlib
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from safetensors.torch import save

from mosaic_pipeline.download import PATIENCE
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.model.vit import VisionTransformer
from mosaic_pipeline.weights.google_npz import check_npz, layout_of
from mosaic_pipeline.weights.source import locate

VIT = VisionTransformer(8, 4, embed_dim=16, depth=1, num_heads=2, num_classes=0)


def npz_bytes(value):
    buffer = io.BytesIO()
    np.savez(buffer, weights=np.full(1000, value))
    return buffer.getvalue()


BODY, OTHER = npz_bytes(1.0), npz_bytes(2.0)
DAMAGED = BODY[:1000] + bytes([BODY[1000] ^ 1]) + BODY[1001:]
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
    source = locate(None, None, VIT, "vit")
    assert source.name == "random"
    assert source.path.is_relative_to(repository)
    check_npz(source.path, layout_of(VIT), "vit")
    assert source.sha256 == hashlib.sha256(source.path.read_bytes()).hexdigest()


def test_a_relative_path_starts_at_the_repository_and_an_absolute_one_stands(repository, tmp_path):
    (repository / "vit.npz").write_bytes(BODY)
    (tmp_path / "absolute.npz").write_bytes(OTHER)
    assert locate("vit.npz", None, VIT, "vit").sha256 == SHA256
    assert locate(str(tmp_path / "absolute.npz"), None, VIT, "vit").path == tmp_path / "absolute.npz"


def test_a_file_is_named_without_its_folder(repository):
    (repository / "vit.npz").write_bytes(BODY)
    assert locate(str(repository / "vit.npz"), None, VIT, "vit").name == "vit.npz"


def test_a_missing_file_is_named(repository):
    with pytest.raises(PipelineError, match=r"^model\.weights: .*none\.npz: no such file"):
        locate("none.npz", None, VIT, "vit")


def test_a_file_of_another_sha256_is_refused_saying_expected_and_found(repository):
    (repository / "vit.npz").write_bytes(OTHER)
    with pytest.raises(PipelineError, match=f"sha256 is {hashlib.sha256(OTHER).hexdigest()}, expected {SHA256}"):
        locate("vit.npz", SHA256, VIT, "vit")


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_url_is_fetched_once_and_kept_in_the_repository(server, repository, sha256):
    first, second = locate(server.url, sha256, VIT, "vit"), locate(server.url, sha256, VIT, "vit")
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
    assert locate(server.url, SHA256, VIT, "vit").path.read_bytes() == BODY
    assert server.requests == 2
    assert len(cached(repository)) == 1


@pytest.mark.parametrize(
    ("bad", "said", "requests"),
    [
        ((503, b"busy", 0), "503", 1 + len(PATIENCE.delays)),
        ((200, BODY, 10), "(Connection broken|IncompleteRead)", 1 + len(PATIENCE.delays)),
        ((200, OTHER, 0), f"expected {SHA256} .*or null", 2),
        ((200, b"<html>sorry</html>", 0), "sha256 is", 2),
    ],
    ids=["503", "body cut", "wrong bytes", "a page"],
)
def test_a_transfer_that_fails_for_ever_is_one_line_and_leaves_nothing(server, repository, bad, said, requests):
    server.answers = [bad]
    with pytest.raises(PipelineError, match=rf"^model\.weights: http://[^\n]*{said}[^\n]*$"):
        locate(server.url, SHA256, VIT, "vit")
    assert server.requests == requests
    assert cached(repository) == []


SAFETENSORS = save({"cls_token": torch.ones(1, 1, 16)})


def torch_bytes(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


TORCH = torch_bytes({"cls_token": torch.full((99,), 3.0)})
PLACE = TORCH.index(torch.full((99,), 3.0).numpy().tobytes())
UNREADABLE = {
    "page": (b"<html>sorry</html>", "a page"),
    "none": (b"", "the file is empty"),
    "npz cut": (BODY[:-30], "not an intact npz file"),
    "npz, a bit": (DAMAGED, "not an intact npz file"),
    "safetensors cut": (SAFETENSORS[:-3], "not an intact safetensors file"),
    "torch cut": (torch_bytes({"cls_token": torch.ones(99)})[:-30], "not an intact torch file"),
    "torch, a bit": (
        TORCH[:PLACE] + bytes([TORCH[PLACE] ^ 1]) + TORCH[PLACE + 1 :],
        "not an intact torch file",
    ),
    "objects": (torch_bytes({"model": VIT}), "not only tensors, but Python objects"),
}


@pytest.mark.parametrize(("content", "said"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_intact_file_is_not_kept_without_a_sha256_either(server, repository, content, said):
    server.answers = [(200, content, 0)]
    with pytest.raises(PipelineError, match=rf"^model\.weights: http://\S+: {said}[^\n]*; [^\n]+$"):
        locate(server.url, None, VIT, "vit")
    assert server.requests == 2  # the same bytes twice are what the server has
    assert cached(repository) == []
    server.answers = [(200, BODY, 0)]
    assert locate(server.url, None, VIT, "vit").sha256 == SHA256


@pytest.mark.parametrize(("content", "sha256"), [(DAMAGED, None), (b"", None), (OTHER, SHA256)])
def test_a_file_in_the_cache_that_is_damaged_or_another_one_is_fetched_anew(server, capsys, content, sha256):
    first = locate(server.url, sha256, VIT, "vit")
    first.path.write_bytes(content)
    assert locate(server.url, sha256, VIT, "vit") == first
    assert first.path.read_bytes() == BODY
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{first.path} is not what it was (")
    assert line.endswith("; fetching it anew")


def test_what_keeps_a_damaged_file_from_being_fetched_anew_is_said_and_the_file_stays(server):
    path = locate(server.url, None, VIT, "vit").path
    path.write_bytes(DAMAGED)
    server.answers = [(404, b"", 0)]
    with pytest.raises(PipelineError, match=r"the server answered 404 Not Found; check model\.weights"):
        locate(server.url, None, VIT, "vit")
    assert path.read_bytes() == DAMAGED


@pytest.mark.parametrize(
    "content", [SAFETENSORS, torch_bytes({"model": {"cls_token": torch.ones(3)}})], ids=["safetensors", "torch"]
)
def test_the_kind_of_a_file_is_told_by_its_content_and_it_is_fetched_once(server, content):
    server.answers = [(200, content, 0)]
    assert locate(server.url, None, VIT, "vit").path.read_bytes() == content
    assert locate(server.url, None, VIT, "vit").name == "ViT.npz"
    assert server.requests == 1


def test_a_folder_is_said_to_be_one(repository):
    (repository / "vit.npz").mkdir()
    with pytest.raises(PipelineError, match=r"vit\.npz: a folder, not a file; give a path"):
        locate("vit.npz", None, VIT, "vit")


@pytest.mark.parametrize("weights", ["~nosuchuser/vit.npz", "a\0b.npz", "a\nb.npz"])
def test_what_cannot_be_a_path_is_one_line(weights):
    with pytest.raises(PipelineError, match=r"^model\.weights: [^\n\0]*: no such file; give a path [^\n\0]*$"):
        locate(weights, None, VIT, "vit")


def test_a_wrong_address_is_not_tried_again(server):
    server.answers = [(404, b"", 0)]
    with pytest.raises(PipelineError, match="the server answered 404"):
        locate(server.url, None, VIT, "vit")
    assert server.requests == 1
