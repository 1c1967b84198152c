"""The stage as its command runs it, on a model that was written as if trained."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from mosaic_pipeline.analysis.outputs import ANALYSES, write_analyses
from mosaic_pipeline.config import dump_config
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.layout import BACKBONE, TRAINING_DATA, config_file, run_folder
from mosaic_pipeline.lineage import read_lineage
from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.model.mosaic import build_mosaic
from mosaic_pipeline.tracking import tracked_run
from mosaic_pipeline.training.model_file import MODEL, identity, save_model
from mosaic_pipeline.weights.convert import save_backbone
from stages import analyse

ROOT = Path(__file__).parents[2]
NAMES = ("retinamnist", "breastmnist", "chestmnist", "nodulemnist3d")


@pytest.fixture
def workplace(tmp_path, cached, params, make_config, monkeypatch):
    """A folder with all that the stage needs for `mosaic`, where the test splits are missing."""
    tree = params.model_dump(mode="json")
    tree["data"]["datasets"] = list(NAMES)
    tree["ablation"] |= {"run": ["mosaic", "shared"], "analyse": ["mosaic"], "analyse_cases": 6}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree))
    monkeypatch.chdir(tmp_path)
    for variable in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)

    for name in NAMES:
        for split in ("train", "test"):
            (cached / name / f"{split}_images.npy").unlink()
    TRAINING_DATA.parent.mkdir(parents=True)
    cached.rename(TRAINING_DATA)

    config = make_config(NAMES)
    config_file("mosaic").parent.mkdir()
    config_file("mosaic").write_text(dump_config(config))
    shape = config.model
    backbone = build_backbone(shape.backbone, shape.patch_size, shape.image_size)
    keys = ("backbone", "patch_size", "image_size")
    save_backbone(backbone, BACKBONE, {key: getattr(shape, key) for key in keys})
    states = []
    for seed in (1, 2):
        generator = torch.Generator().manual_seed(seed)
        start = build_mosaic(config, backbone, 42).trainable_state()
        states.append({name: x + 0.1 * torch.randn(x.shape, generator=generator) for name, x in start.items()})
    whose = identity("mosaic", 42, read_lineage(md5_file(config_file("mosaic")), NAMES), config.datasets)
    save_model(run_folder("mosaic", 42) / MODEL, whose, student=states[0], teacher=states[1])
    deploy("teacher")
    return tmp_path


def deploy(which: str) -> None:
    folder = run_folder("mosaic", 42)
    training = {"variant": "mosaic", "seed": 42, "deployed": which, "md5": {"model": md5_file(folder / MODEL)}}
    (folder / "train.json").write_text(json.dumps(training))


def run(variant: str, monkeypatch) -> bytes:
    monkeypatch.setattr(sys, "argv", ["analyse", variant, "42"])
    analyse.main()
    return Path(f"analysis/{variant}/42.json").read_bytes()


def test_the_same_model_gives_the_same_bytes_and_another_one_others(workplace, params, monkeypatch, capsys):
    with tracked_run("train", "mosaic-42", params.tracking) as training:
        training.log_model("mosaic-42", md5_file(run_folder("mosaic", 42) / "model.safetensors"))
    first = run("mosaic", monkeypatch)
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [f"mosaic {a}" for a in ANALYSES]
    assert run("mosaic", monkeypatch) == first
    deploy("student")
    assert run("mosaic", monkeypatch) != first

    result = json.loads(first)
    assert list(result) == ["variant", "seed", "cases", *ANALYSES]
    assert (result["variant"], result["seed"], result["cases"]) == ("mosaic", 42, 6)
    assert {name for name in ANALYSES if result[name]} == {"counterfactual", "similarity", "branch_ratio"}
    assert list(result["counterfactual"]["acc"]) == list(NAMES)

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{workplace / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("mosaic").experiment_id], "tags.stage = 'analyse'")
    assert {tracked.info.status for tracked in runs} == {"FINISHED"}
    assert {tracked.data.tags["mlflow.parentRunId"] for tracked in runs} == {training.id}
    assert "analysis/counterfactual/own_acc" in runs[0].data.metrics
    assert {item.dataset.name for item in runs[0].inputs.dataset_inputs} == set(NAMES)


def test_a_variant_that_is_not_analysed_needs_no_model_and_nothing_heavy(workplace):
    heavy = ("torch", "timm", "mlflow", "medmnist", "matplotlib", "sklearn", "pandas", "numpy")
    code = (
        "import sys; sys.argv = ['analyse', 'shared', '42']; import stages.analyse; stages.analyse.main();"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'pipeline'}"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"
    assert not Path("mlflow.db").exists()
    expected = {"variant": "shared", "seed": 42, "cases": 6} | dict.fromkeys(ANALYSES)
    assert json.loads(Path("analysis/shared/42.json").read_text()) == expected


def test_a_variant_that_does_not_exist_is_told(workplace):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'pipeline'}"}
    command = [sys.executable, "-m", "stages.analyse", "msaic", "42"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("error: params.yaml: ablation.variants.msaic: no such variant")
    assert not Path("analysis").exists()


def test_what_is_undefined_is_null_and_numbers_have_six_digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ratios = {"retinamnist": [float("nan"), 1 / 3, 1e-9 / 3, float("inf"), 0.0]}
    write_analyses({"variant": "mosaic", "seed": 1, "cases": 2}, {"branch_ratio": ratios})
    written = json.loads(Path("analysis/mosaic/1.json").read_text())
    assert written["branch_ratio"] == {"retinamnist": [None, 0.333333, 3.33333e-10, None, 0.0]}
    assert written["gate"] is None
