"""A stand-in for the hub, on the loopback: what is fetched, once, and what is said where something is in the way."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import save

from mosaic_pipeline.data.augment import STATISTICS
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.weights.source import locate

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


def preprocessor(**values):
    return json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3} | values).encode()


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
        (
            {"preprocessor_config.json": preprocessor(do_normalize=False, rescale_factor=1 / 255)},
            ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
            "the hub's preprocessor_config.json",
        ),
        (
            {"preprocessor_config.json": preprocessor(rescale_factor=1 / 127.5)},
            None,
            "the hub's preprocessor_config.json multiplies pixels by 0.00784314, not by 1/255, before mean and std",
        ),
        (
            {"preprocessor_config.json": preprocessor(do_rescale=False, do_normalize=False)},
            None,
            "the hub's preprocessor_config.json leaves pixels as they are, not in [0, 1], before mean and std",
        ),
        ({"config.json": b"not JSON"}, None, None),
        ({}, None, None),
    ],
    ids=[
        "timm",
        "transformers",
        "open_clip",
        "of gray images",
        "in [0, 1]",
        "twice as large",
        "not scaled",
        "broken",
        "silent",
    ],
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
    for revision in ("../../x", "a/../b", "..", "/main", "a b", "x?y"):
        refused(f"hub:lab/vit@{revision}", f"{revision} is no revision; it must be a branch, a tag or a commit")
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


GIANT = {"init_values": 1e-5, "mlp_ratio": 5.33334, "mlp_layer": "SwiGLUPacked", "act_layer": "silu", "depth": 2}
# Each as its repository says it (but for sizes, here small), and as its page says that it is to be built.
REAL = {
    "UNI": (
        "vit_large_patch16_224",
        {"init_values": 1e-5, "num_features": 24, "global_pool": "token", "num_classes": 0},
        {"init_values": 1.0},
    ),
    "UNI2-h": (
        "vit_giant_patch14_224",
        {
            "model_args": {
                **{"img_size": 224, "patch_size": 14, "depth": 2, "num_heads": 2, "embed_dim": 24, "num_classes": 0},
                **{"mlp_ratio": 5.33334, "init_values": 1e-5, "no_embed_class": True, "reg_tokens": 8},
            }
        },
        GIANT | {"no_embed_class": True, "reg_tokens": 8},
    ),
    "Virchow2": (
        "vit_huge_patch14_224",
        {
            "model_args": {
                **{"img_size": 224, "init_values": 1e-5, "num_classes": 0, "reg_tokens": 4, "mlp_ratio": 5.33334},
                **{"global_pool": "", "dynamic_img_size": True, "drop_path_rate": 0.1, "weight_init": "skip"},
            }
        },
        GIANT | {"reg_tokens": 4},
    ),
}


@pytest.mark.parametrize(("architecture", "said", "arguments"), REAL.values(), ids=REAL)
def test_what_a_repository_leaves_to_its_page_is_left_to_the_tensors(hub, architecture, said, arguments):
    patch = 16 if "16" in architecture else 14
    arguments = {"embed_dim": 24, "num_heads": 2, "depth": 2} | arguments
    vit = build_backbone(architecture, patch, patch, "meta", arguments)
    hub.files["lab/vit"] = {"config.json": config(architecture=architecture, **said), "model.safetensors": WEIGHTS}
    assert locate("hub:lab/vit", None, vit, architecture, arguments).told


@pytest.mark.parametrize(
    ("said", "arguments", "must"),
    [
        ({"num_heads": 3}, {"init_values": 0.1}, "{init_values: 0.1, num_heads: 3}"),
        ({"num_heads": 3}, {"num_heads": 2}, "{num_heads: 3}"),
        ({"act_layer": "quick_gelu"}, {"act_layer": "silu"}, '{act_layer: "quick_gelu"}'),
        ({"reg_tokens": 4}, {"reg_tokens": 2}, "{reg_tokens: 4}"),
    ],
)
def test_what_a_repository_says_otherwise_is_refused_also_where_tensors_would_not_show_it(hub, said, arguments, must):
    hub.files["lab/vit"] = {"config.json": config(model_args=said), "model.safetensors": WEIGHTS}
    vit = build_backbone(NAME, 14, 14, "meta", arguments)
    with pytest.raises(PipelineError, match=f"with other arguments; model.backbone_args must be {re.escape(must)}"):
        locate("hub:lab/vit", None, vit, NAME, arguments)


TRANSFORMERS = {"num_attention_heads": 6, "hidden_act": "gelu", "layer_norm_eps": 1e-12}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (TRANSFORMERS, True),
        (TRANSFORMERS | {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}, True),
        ({"num_attention_heads": 8, "vision_config": TRANSFORMERS}, True),
        ({"num_attention_heads": 6}, False),
        ({"num_attention_heads": 6, "hidden_act": "nosuch"}, False),
        ({"vision_config": {"hidden_size": 24}}, False),
        ([1, 2], False),
    ],
)
def test_heads_and_activation_of_transformers_that_are_the_models_are_known_to_be(hub, said, told):
    hub.files["lab/vit"] = {"config.json": json.dumps(said).encode(), "model.safetensors": WEIGHTS}
    assert locate("hub:lab/vit", None, VIT, NAME).told == told


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (
            {"num_attention_heads": 12},
            "num_attention_heads 12, but vit_small_patch14_dinov2 has 6; model.backbone_args",
        ),
        ({"hidden_act": "quick_gelu"}, "hidden_act quick_gelu, but vit_small_patch14_dinov2 computes GELU; model.back"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps 1e-05, but vit_small_patch14_dinov2 has 1e-06; model.backbone must"),
    ],
)
def test_heads_activation_and_epsilon_of_transformers_that_are_others_are_refused(hub, said, problem):
    for name, tree in {"lab/vit": TRANSFORMERS | said, "lab/clip": {"vision_config": TRANSFORMERS | said}}.items():
        hub.files[name] = {"config.json": json.dumps(tree).encode(), "model.safetensors": WEIGHTS}
        refused(f"hub:{name}", f"its config.json says {problem}")
    assert not any("model.safetensors" in path for _, path in hub.requests)


def test_the_activation_of_a_gated_mlp_is_not_held_against_the_one_that_transformers_note(hub):
    """DINOv2's giant says gelu there, and computes SiLU."""
    arguments = {"mlp_layer": "SwiGLUPacked"}
    vit = build_backbone(NAME, 14, 14, "meta", arguments)
    hub.files["lab/vit"] = {"config.json": json.dumps(TRANSFORMERS).encode(), "model.safetensors": WEIGHTS}
    assert locate("hub:lab/vit", None, vit, NAME, arguments).told
