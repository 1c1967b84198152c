"""A stand-in for the hub, on the loopback: what is fetched, once, and what is said where something is in the way."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import save

from pipeline.data.augment import STATISTICS
from pipeline.errors import PipelineError
from pipeline.model.backbone import build_backbone
from pipeline.weights.source import locate

CLIP = STATISTICS["clip"]
COMMIT, OLDER = "a" * 40, "b" * 40
WEIGHTS = save({"cls_token": torch.ones(1, 1, 4)})
TAG = "vit_small_patch14_dinov2.lvd142m"
NAME = "vit_small_patch14_dinov2"
VIT = build_backbone("vit_small_patch14_dinov2", 14, 14, "meta")


class _Hub(BaseHTTPRequestHandler):
    """Answers `/<org>/<repo>/resolve/<revision>/<file>` as the hub does, out of `server.files`."""

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        self.server.requests.append((self.command, self.path))
        org, repo, _, revision, file = self.path.lstrip("/").split("/", 4)
        found = self.server.files.get(f"{org}/{repo}")
        status, error = self.server.refusal or (200, None)
        if status == 200 and found is None:
            status, error = 401, "RepoNotFound"
        elif status == 200 and revision not in ("main", COMMIT):
            status, error = 404, "RevisionNotFound"
        elif status == 200 and file not in found:
            status, error = 404, "EntryNotFound"
        content = found[file] if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        if error:
            self.send_header("X-Error-Code", error)
        else:
            self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """The hub, and a repository of one's own to fetch into."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    httpd.files, httpd.requests, httpd.refusal = {}, [], None
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{httpd.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    yield httpd
    httpd.shutdown()
    httpd.server_close()


def config(**values):
    return json.dumps({"architecture": NAME} | values).encode()


def test_a_tag_of_timms_is_fetched_once_with_revision_and_statistics(hub, tmp_path):
    hub.files[f"timm/{TAG}"] = {"model.safetensors": WEIGHTS}
    source = locate(f"hub:{TAG}", None, VIT, NAME)
    assert source.path.read_bytes() == WEIGHTS
    assert source.path.is_relative_to(tmp_path / ".cache/weights")
    assert source.name == f"timm/{TAG}/model.safetensors"
    assert (source.sha256, source.revision) == (hashlib.sha256(WEIGHTS).hexdigest(), COMMIT)
    assert (source.statistics, source.found_in) == (STATISTICS["imagenet"], "timm")
    assert locate(f"hub:{TAG}", None, VIT, NAME) == source
    assert sum(command == "GET" for command, _ in hub.requests) == 1


def test_what_was_fetched_is_there_without_a_network_too(hub, monkeypatch):
    hub.files["lab/vit"] = {"config.json": config(), "pytorch_model.bin": WEIGHTS}
    source = locate("hub:lab/vit", None, VIT, NAME)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert locate("hub:lab/vit", None, VIT, NAME) == source


@pytest.mark.parametrize(
    ("files", "statistics", "found_in"),
    [
        (
            {"config.json": config(pretrained_cfg={"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]})},
            ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0)),
            "the hub's config.json",
        ),
        (
            {"preprocessor_config.json": b'{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'},
            STATISTICS["half"],
            "the hub's preprocessor_config.json",
        ),
        (
            {
                "open_clip_config.json": json.dumps({"preprocess_cfg": {"mean": CLIP[0], "std": CLIP[1]}}).encode(),
            },
            CLIP,
            "the hub's open_clip_config.json",
        ),
        ({"preprocessor_config.json": b'{"image_mean": [0.5], "image_std": 0.5}'}, None, None),
        ({"config.json": b"not JSON"}, None, None),
        ({}, None, None),
    ],
    ids=["timm", "transformers", "open_clip", "of gray images", "broken", "silent"],
)
def test_a_repository_says_by_which_mean_and_std_it_was_trained_or_does_not(hub, files, statistics, found_in):
    hub.files["lab/vit"] = files | {"model.safetensors": WEIGHTS}
    source = locate("hub:lab/vit", None, VIT, NAME)
    assert (source.statistics, source.found_in) == (statistics, found_in)


def test_safe_files_go_before_others_and_a_revision_may_be_named(hub):
    hub.files["lab/vit"] = {"model.safetensors": WEIGHTS, "pytorch_model.bin": b"not this"}
    assert locate(f"hub:lab/vit@{COMMIT}", None, VIT, NAME).name == "lab/vit/model.safetensors"
    assert all(f"/resolve/{COMMIT}/" in path for _, path in hub.requests)


def refused(weights, *parts, arguments=None, sha256=None):
    with pytest.raises(PipelineError) as error:
        locate(weights, sha256, VIT, NAME, arguments)
    message = str(error.value)
    assert message.startswith(f"model.weights: {weights}: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_without_a_network_it_is_one_line_at_once(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waited"))
    for weights in (f"hub:{TAG}", "hub:lab/vit"):
        refused(weights, "the hub cannot be reached (", "give its path", "HF_ENDPOINT")
    monkeypatch.undo()


def test_what_the_hub_does_not_have_is_said(hub):
    refused("hub:lab/none", "the hub knows no such repository", "HF_TOKEN")
    hub.files["lab/vit"] = {"README.md": b""}
    refused("hub:lab/vit", "lab/vit has none of model.safetensors, ", "give the URL of its weights")
    refused(f"hub:lab/vit@{OLDER}", "the hub knows no such revision")
    refused("hub:not a repository/vit", "the hub knows no such repository")
    hub.refusal = (403, "GatedRepo")
    refused("hub:lab/vit", "lab/vit is not open to all; accept its terms on its page and set HF_TOKEN")
    hub.refusal = (418, None)
    refused("hub:lab/vit", "418")


def test_weights_of_another_model_are_refused_before_they_are_fetched(hub):
    hub.files["lab/vit"] = {"config.json": config(architecture="vit_base_patch16_224"), "model.safetensors": WEIGHTS}
    refused("hub:lab/vit", "weights of vit_base_patch16_224, but model.backbone is vit_small_patch14_dinov2")
    refused("hub:vit_base_patch14_dinov2.lvd142m", "weights of vit_base_patch14_dinov2, but model.backbone is")
    needed = {"init_values": 1e-05, "img_size": 224, "dynamic_img_size": True, "reg_tokens": 4}
    hub.files["lab/vit2"] = {"config.json": config(model_args=needed), "model.safetensors": WEIGHTS}
    refused("hub:lab/vit2", "model.backbone_args must be {init_values: 1e-05, reg_tokens: 4}")
    assert not any("model.safetensors" in path for _, path in hub.requests)
    locate("hub:lab/vit2", None, VIT, NAME, {"init_values": 1e-05, "reg_tokens": 4})


def test_a_tag_that_timm_does_not_know_names_those_that_it_does(hub):
    refused(f"hub:{NAME}.nosuch", "timm knows no such weights", f"those of {NAME} are {TAG}")
    refused("hub:nosuch", "timm knows no such weights")
    assert hub.requests == []


def test_a_file_of_another_sha256_is_refused(hub):
    hub.files["lab/vit"] = {"model.safetensors": WEIGHTS}
    refused("hub:lab/vit", "sha256 is", "expected 000", "model.weights_sha256", sha256="0" * 64)
