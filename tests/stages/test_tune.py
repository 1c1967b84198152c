"""The stage as its command runs it, on cached data whose test splits are missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

import stages.tune
from mosaic_pipeline.candidates import dump_candidates, load_candidates, resolve_candidates
from mosaic_pipeline.config import dump_config, resolve
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import BACKBONE, TRAINING_DATA, candidates_file
from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.params import Params
from mosaic_pipeline.training.trainer import CyclicTrainer
from mosaic_pipeline.training.tuning import DIVERGED
from mosaic_pipeline.weights.convert import save_backbone

ROOT = Path(__file__).parents[2]
NAMES = ("retinamnist", "breastmnist", "nodulemnist3d")
# One that learns nothing, one that does not stay finite, and one that learns.
RATES = [1e-9, 1e30, 0.01]


@pytest.fixture
def workplace(tmp_path, cached, params, monkeypatch):
    """A folder with all that the stage needs, `mosaic` to be tuned and `shared` not."""
    tree = params.model_dump(mode="json")
    tree["data"]["datasets"] = list(NAMES)
    tree["model"] |= {"image_size": 32, "volume_size": 16}
    tree["adapter"] |= {"bottleneck_a": 3, "bottleneck_b": 3, "bottleneck_c": 3, "bottleneck_shared": 3}
    tree["train"] |= {"num_rounds": 2, "batch_size": 4}
    tree["ablation"] |= {"run": ["mosaic", "shared"], "analyse": []}
    tree["ablation"]["tune"] = {"variants": ["mosaic"], "grid": {"train.lr": RATES}, "seed": 7}
    tree["tracking"]["system_metrics"] = False
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree))
    monkeypatch.chdir(tmp_path)
    for variable in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    for name in NAMES:
        (cached / name / "test_images.npy").unlink()
        (cached / name / "test_labels.npy").unlink()
    TRAINING_DATA.parent.mkdir(parents=True)
    cached.rename(TRAINING_DATA)
    shape = {"backbone": params.model.backbone, "patch_size": params.model.patch_size, "image_size": 32}
    save_backbone(build_backbone(*shape.values()), BACKBONE, shape | {"source": "random", "sha256": "0" * 64})
    for variant in ("mosaic", "shared"):
        candidates_file(variant).parent.mkdir(exist_ok=True)
        candidates_file(variant).write_text(dump_candidates(resolve_candidates(Params.model_validate(tree), variant)))
    return Params.model_validate(tree)


def tune(monkeypatch) -> dict[str, bytes]:
    """Run the stage for `mosaic` and return its files."""
    monkeypatch.setattr(sys, "argv", ["tune", "mosaic"])
    stages.tune.main()
    return {name: Path(name).read_bytes() for name in ("configs/mosaic.yaml", "tuning/mosaic.json")}


def runs() -> dict[str, str]:
    client = MlflowClient("sqlite:///mlflow.db")
    found = client.search_runs([client.get_experiment_by_name("mosaic").experiment_id], "tags.stage = 'tune'")
    return {run.info.run_name: run.info.status for run in found}


def test_the_candidate_with_the_best_validation_score_is_chosen_and_a_killed_stage_ends_the_same(
    workplace, monkeypatch, capsys
):
    files = tune(monkeypatch)
    capsys.readouterr()
    tuning = json.loads(files["tuning/mosaic.json"])
    trials = tuning["candidates"]
    assert (tuning["variant"], tuning["seed"], tuning["chosen"]) == ("mosaic", 7, 2)
    assert [trial["values"] for trial in trials] == [{"train.lr": rate} for rate in RATES]
    assert trials[1] == {"values": {"train.lr": 1e30}} | dict.fromkeys(("score", "acc", "auc", "best_round"))
    assert trials[2]["score"] > trials[0]["score"] + 0.05
    assert trials[2]["score"] == pytest.approx((trials[2]["acc"] + trials[2]["auc"]) / 2)
    chosen = resolve(workplace, "mosaic", {"train.lr": 0.01})
    assert files["configs/mosaic.yaml"].decode() == dump_config(chosen)

    names = [f"mosaic-tune-{index}" for index in range(3)]
    assert runs() == dict(zip(names, ("FINISHED", "FAILED", "FINISHED"), strict=True))
    client = MlflowClient("sqlite:///mlflow.db")
    (run,) = client.search_runs(["1"], "attributes.run_name = 'mosaic-tune-2'")
    assert (run.data.params["train.lr"], run.data.params["seed"]) == ("0.01", "7")
    assert [point.step for point in client.get_metric_history(run.info.run_id, "student_score")] == [1, 2]
    assert not [path for path in Path(".cache/checkpoints").iterdir() if path.suffix != ".lock"]

    # Killed in the third training; what the other two came to is not asked for again.
    step = CyclicTrainer._train_step

    def killed(trainer, *arguments):
        if trainer.config.train.lr == 0.01 and trainer.step == 5:
            raise KeyboardInterrupt
        step(trainer, *arguments)

    monkeypatch.setattr(CyclicTrainer, "_train_step", killed)
    for path in files:
        Path(path).unlink()
    with pytest.raises(KeyboardInterrupt):
        tune(monkeypatch)
    assert not any(Path(path).exists() for path in files)
    monkeypatch.setattr(CyclicTrainer, "_train_step", step)
    capsys.readouterr()
    assert tune(monkeypatch) == files
    printed = capsys.readouterr().out
    assert printed.startswith("candidate 3 of 3: train.lr = 0.01\n")
    assert "continuing in round" in printed
    found = client.search_runs(["1"], "tags.stage = 'tune'")
    assert sorted(run.info.run_name for run in found) == sorted([*names, *names])


def test_another_variants_file_is_its_own_configuration_and_takes_nothing_heavy(workplace):
    heavy = ("torch", "timm", "mlflow", "medmnist", "matplotlib", "sklearn", "pandas", "numpy")
    code = (
        "import sys; sys.argv = ['tune', 'shared']; import stages.tune; stages.tune.main();"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'pipeline'}"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"
    assert Path("configs/shared.yaml").read_text() == dump_config(resolve(workplace, "shared"))
    nothing = {"variant": "shared", "seed": None, "chosen": None, "candidates": []}
    assert json.loads(Path("tuning/shared.json").read_text()) == nothing


def test_if_every_candidate_diverges_there_is_no_configuration(workplace):
    candidates = load_candidates(candidates_file("mosaic"))
    with pytest.raises(PipelineError, match="mosaic: every candidate diverged"):
        stages.tune.write_choice("mosaic", candidates, [DIVERGED] * 3)
    assert not Path("configs").exists()
