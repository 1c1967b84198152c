"""`mosaic export`: a bundle's folder of graphs, what stands in it, and what is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from mosaic_pipeline.bundle import load_bundle, manifest
from mosaic_pipeline.commands.export import main
from mosaic_pipeline.config import config_tree
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.export import to_onnx
from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.model.mosaic import build_mosaic

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 2}
CLASSES = ["malignant", "normal, benign"]


@pytest.fixture
def bundle(make_config, tmp_path) -> Path:
    """A bundle of a small model that knows one dataset."""
    overrides = {"model__backbone": "vit_tiny_patch16_224", "model__backbone_args": TINY}
    config = make_config(("breastmnist",), **overrides).for_seed(0)
    backbone = build_backbone("vit_tiny_patch16_224", 16, 32, backbone_args=TINY)
    folder = tmp_path / "bundle"
    folder.mkdir()
    save_file(backbone.state_dict(), folder / "backbone.safetensors")
    model = build_mosaic(config, backbone, 0)
    trained = {name: 0.3 * torch.randn(tensor.shape) for name, tensor in model.trainable_state().items()}
    save_file(trained, folder / "model.safetensors")
    known = manifest.Known(
        title="BreastMNIST",
        specialist="B",
        class_names=CLASSES,
        licence="CC BY 4.0",
        source="phantom",
        official=False,
        preparation=manifest.Preparation(dimension=2, channels=1, size=28),
        test=manifest.Tested(n=1, acc=None, auc=None, acc_interval=None, auc_interval=None),
    )
    written = manifest.Manifest(
        format=1,
        model_type="mosaic",
        made_with=manifest.Package(mosaic_pipeline="0", torch="0", timm="0"),
        variant="mosaic",
        seed=0,
        deployed="teacher",
        statistics=model.statistics,
        validation=None,
        datasets={"breastmnist": known},
        config=config_tree(config),
        provenance=manifest.Provenance(
            revision="0", md5=dict.fromkeys(("model", "config", "weights"), "0" * 32), data={}, weights={}
        ),
    )
    (folder / "config.json").write_text(written.model_dump_json())
    md5s = "".join(f"{md5_file(file)}  {file.name}\n" for file in folder.iterdir())
    (folder / "md5sums.txt").write_text(md5s)
    return folder


@pytest.fixture
def export(monkeypatch):
    """Run the command on its arguments."""

    def run(*arguments) -> None:
        monkeypatch.setattr(sys, "argv", ["mosaic export", *map(str, arguments)])
        main()

    return run


def test_a_bundle_gets_graphs_that_answer_as_it_does_and_files_that_say_how(bundle, export, capsys):
    export(bundle, "--onnx")
    folder = bundle / "onnx"
    assert {file.name for file in folder.iterdir()} == {"B-images.onnx", "export.json"}
    assert capsys.readouterr().out.startswith("B-images.onnx: breastmnist; within ")

    said = json.loads((folder / "export.json").read_text())
    assert {"variant": "mosaic", "md5": "0" * 32, "precision": "fp32", "trained_in": "fp32"}.items() <= said.items()
    graph = said["graphs"]["B-images.onnx"]
    assert graph["input"] == {"name": "pixels", "type": "uint8", "shape": ["batch", 28, 28]}
    assert graph["outputs"]["breastmnist"]["classes"] == CLASSES
    assert graph["outputs"]["breastmnist"]["prepared"]["size"] == 28
    session = onnxruntime.InferenceSession(folder / "B-images.onnx", providers=["CPUExecutionProvider"])
    within = json.loads(session.get_modelmeta().custom_metadata_map["mosaic"])
    assert within == {key: value for key, value in graph.items() if key != "largest_difference_from_torch"}

    noise = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    images = noise // np.arange(1, 8, dtype=np.uint8).reshape(7, 1, 1)
    (found,) = session.run(["breastmnist"], {"pixels": images})
    # With what lies in it now the bundle still is one.
    np.testing.assert_allclose(found, load_bundle(bundle, "cpu").predict(images, "breastmnist"), rtol=0, atol=1e-5)
    assert found.std(axis=0).max() > 1e-3

    # Exporters write down which lines of which files made each node.
    for file in folder.iterdir():
        content = file.read_bytes()
        assert not [path for path in (str(bundle.parent), str(Path(__file__).parents[2])) if path.encode() in content]
        assert b".py" not in content


def test_a_graph_that_differs_from_torch_is_not_given_out(bundle, export, monkeypatch, tmp_path):
    compute = to_onnx.Graph.forward

    def forward(graph, images):
        shift = 0 if torch.compiler.is_compiling() else 1e-4
        return tuple(answer + shift for answer in compute(graph, images))

    monkeypatch.setattr(to_onnx.Graph, "forward", forward)
    with pytest.raises(PipelineError, match=r"B-images.onnx: onnxruntime .* differ by 1.0e-04, and 1e-05 is allowed"):
        export(bundle, "--onnx", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_folder_that_is_there_is_left_as_it_is(bundle, export, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(PipelineError, match="out: is there already; remove it, or say another folder with -o"):
        export(bundle, "--onnx", "-o", tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("lacking", [("onnx",), ("onnxscript", "onnxruntime")])
def test_a_package_that_is_missing_is_named_with_what_installs_it(bundle, export, monkeypatch, lacking):
    for name in lacking:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PipelineError, match=rf"needs {', '.join(lacking)}, not .* '\.\[onnx\]'`"):
        export(bundle, "--onnx")
    assert not (bundle / "onnx").exists()


def test_a_bundle_that_is_none_or_broken_is_one_line(bundle, export):
    with pytest.raises(PipelineError, match="no bundle"):
        export(bundle.parent, "--onnx")
    (bundle / "model.safetensors").write_bytes((bundle / "model.safetensors").read_bytes()[:-1])
    with pytest.raises(PipelineError, match=r"model.safetensors: was changed"):
        export(bundle, "--onnx")
    assert not (bundle / "onnx").exists()


def test_the_format_has_to_be_said(bundle, export):
    with pytest.raises(PipelineError, match="--onnx"):
        export(bundle)
