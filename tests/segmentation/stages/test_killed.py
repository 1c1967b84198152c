"""Training that is killed within a phase or between two, as a user meets it: it ends with the same files."""

import os
import shutil
import signal

import pytest
from interrupted import Training
from mlflow import MlflowClient

from mosaic_pipeline.layout import segmentation_config, segmentation_run
from mosaic_pipeline.segmentation.reporting.means import flat
from mosaic_pipeline.segmentation.reporting.results import load_results
from mosaic_pipeline.segmentation.training.outputs import FILES
from mosaic_pipeline.training.checkpoint import Checkpoints
from stages.segmentation import configure, evaluate
from tests.segmentation.workplace import ROOT, SEED, SETS, write_params
from tests.segmentation.workplace import run as run_stage

# After how many checkpoints a training is killed, where it stands then (rounds done when each phase began, rounds done,
# whether a round has begun), and what the next one says. There is one at the start and, of two sets, two a round.
KILLS = {
    "within the experts' rounds": (4, ([0], 1, True), "continuing in round 2, "),
    "between experts and gate": (1, ([0], 2, False), "continuing in round 3, "),
    "within the gate's rounds": (3, ([0, 2], 3, True), "continuing in round 4, "),
}


@pytest.fixture
def training(workplace):
    """The training of m4oe: two rounds of the experts, two with the gate, of which the first is best by that much."""
    write_params(train__expert_rounds=2, train__gate_rounds=2, train__min_delta=0.9)
    run_stage(configure, "m4oe")
    results = workplace / segmentation_run("m4oe", SEED)
    shutil.rmtree(results)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'pipeline'}", "PYTHONUNBUFFERED": "1"}
    return Training(workplace, environment, ("stages.segmentation.train", "m4oe", str(SEED)), results, FILES)


def stands_at(training):
    """Where the newest checkpoint has a training."""
    (folder,) = {file.parent for file in training.checkpoints()}
    _, values = Checkpoints(folder).load()
    return values["phases_from"], values["round"], values["position"] > 0


def test_a_training_killed_within_each_phase_and_between_them_ends_with_the_files_of_an_uninterrupted_one(training):
    assert "continuing" not in training.finish()
    whole = training.digests()
    shutil.rmtree(training.results)
    continues = ""
    for moment, (checkpoints, stands, then) in KILLS.items():
        code, printed = training.kill(checkpoints)
        assert code == -signal.SIGKILL, printed
        assert continues in printed, moment
        assert stands_at(training) == stands, moment
        continues = then
    assert not list(training.results.iterdir())
    assert continues in training.finish()
    assert training.digests() == whole
    assert not training.checkpoints()

    # In MLflow that is two runs of one model, the second of which was continued until it was done.
    client = MlflowClient(f"sqlite:///{training.folder}/mlflow.db")
    (experiment,) = [each for each in client.search_experiments() if each.name == "mosaic"]
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    config = training.folder / segmentation_config("m4oe")
    for run in runs:
        found = {
            key: run.data.params[f"segmentation.{key}"] for key in ("train.gate_rounds", "experts.mix", "model.dim")
        }
        assert found == {"train.gate_rounds": "2", "experts.mix": "gated", "model.dim": "8"}
        kept = training.folder / "mlartifacts" / run.info.run_id / "artifacts" / segmentation_config("m4oe")
        assert kept.read_bytes() == config.read_bytes()
        assert run.data.tags["mlflow.note.content"].startswith("**m4oe**, seed 42: the method - ")
        assert not any(key.startswith("test/") for key in run.data.metrics)

    run_stage(evaluate, "m4oe", SEED)
    reported = flat(load_results(["m4oe"], [SEED]))
    wanted = {f"test/mean_{metric}": reported[f"mean_{metric}"] for metric in ("dsc", "nsd", "hd95")}
    wanted |= {f"test/{name}/mean_dsc": reported[f"{name}_dsc"] for name in SETS}
    for run in client.search_runs([experiment.experiment_id], "tags.stage = 'seg_train'"):
        assert {key: value for key, value in run.data.metrics.items() if key in wanted} == {
            key: value for key, value in wanted.items() if value is not None
        }
        assert "\n- **Test**: mean DSC " in run.data.tags["mlflow.note.content"]
