"""A training and its tests on a group's server: MLflow's, on PostgreSQL, behind names and passwords."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
import yaml
from finished import ROOT, TINY, run_stage, write_params
from mlflow import MlflowClient
from servers import ADMIN, HOST, mlflow_server, postgresql

ROUNDS = 3
CHANGES = TINY | {
    "data.datasets": ["retinamnist", "breastmnist"],
    "data.external": [],
    "data.corruptions": [],
    "train.num_rounds": ROUNDS,
    "ablation.run": ["mosaic"],
    "ablation.analyse": [],
    "ablation.tune.variants": [],
    "specialists": ["A", "B"],
}
PREPARED = (
    "declare",
    *(f"{stage} {name}" for name in CHANGES["data.datasets"] for stage in ("download", "cache")),
    "weights",
    "configure mosaic",
    "tune mosaic",
)
ADA, BEA = "ada-is-the-first", "bea-is-the-second"  # their passwords


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A project that ada trained and bea tested, each knowing the server's address and a password and nothing else."""
    folder, server = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("server")
    with postgresql() as store, mlflow_server(store, server, "admin-is-neither") as url:
        for name, password in {"ada": ADA, "bea": BEA}.items():
            user = {"username": name, "password": password}
            made = requests.post(
                f"{url}/api/2.0/mlflow/users/create", json=user, auth=(ADMIN, "admin-is-neither"), timeout=60
            )
            assert made.ok, made.text
        tree = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        write_params(folder, CHANGES | {"ablation.variants": {"mosaic": tree["ablation"]["variants"]["mosaic"]}}, tree)
        near = {"NO_PROXY": HOST}
        ada = near | {"MLFLOW_TRACKING_URI": url.replace("://", f"://ada:{ADA}@")}
        bea = near | {"MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_USERNAME": "bea", "MLFLOW_TRACKING_PASSWORD": BEA}
        printed = ""
        commands = [(command, {}) for command in PREPARED]
        commands += [("train mosaic 42", ada), ("evaluate mosaic 42 A", bea), ("evaluate mosaic 42 B", bea)]
        for command, environment in commands:
            ended = run_stage(folder, command, environment)
            assert ended.status == 0, f"{command}: {ended.stderr}{ended.traceback}"
            printed += ended.stdout + ended.stderr
        with pytest.MonkeyPatch.context() as patch:
            for key, value in bea.items():
                patch.setenv(key, value)
            yield SimpleNamespace(folder=folder, server=server, url=url, printed=printed, client=MlflowClient(url))


def runs(trained: SimpleNamespace, stage: str) -> list:
    (experiment,) = [each for each in trained.client.search_experiments() if each.name == "mosaic"]
    return trained.client.search_runs([experiment.experiment_id], f"tags.stage = '{stage}'")


def test_nothing_is_kept_beside_the_server(trained):
    assert not (trained.folder / "mlflow.db").exists()
    assert not (trained.folder / "mlartifacts").exists()


def test_a_training_is_read_back_whole(trained):
    (run,) = runs(trained, "train")
    assert run.info.status == "FINISHED"
    assert run.data.params["train.num_rounds"] == str(ROUNDS)
    assert run.data.params["adapter.bottleneck_a"] == "2"
    assert (run.data.tags["variant"], run.data.tags["seed"]) == ("mosaic", "42")
    with (trained.folder / "runs/mosaic/42/history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert len(history) == ROUNDS
    for column in history[0]:
        points = trained.client.get_metric_history(run.info.run_id, column)
        assert [(point.step, point.value) for point in points] == [
            (int(row["round"]), pytest.approx(float(row[column]))) for row in history
        ]
    assert {given.dataset.name for given in run.inputs.dataset_inputs} >= set(CHANGES["data.datasets"])


def test_another_member_tests_a_model_and_the_tests_nest_under_its_training(trained):
    (training,) = runs(trained, "train")
    tested = runs(trained, "evaluate")
    assert {run.data.tags["mlflow.parentRunId"] for run in tested} == {training.info.run_id}
    assert {run.data.tags["mlflow.user"] for run in tested} == {"bea"}
    for run in tested:
        (specialist,) = {"A", "B"} & set(run.info.run_name.split("-"))
        written = json.loads((trained.folder / f"evaluation/mosaic/42/{specialist}.json").read_text())["datasets"]
        for name, record in written.items():
            assert run.data.metrics[f"test/{name}/acc"] == pytest.approx(record["acc"])
    assert {"test/mean_acc", "test/mean_auc"} <= training.data.metrics.keys()
    (model,) = training.outputs.model_outputs
    logged = trained.client.get_logged_model(model.model_id)
    assert {metric.run_id for metric in logged.metrics} == {run.info.run_id for run in tested}


def test_artifacts_go_through_the_server_and_come_back_the_same(trained, tmp_path):
    (run,) = runs(trained, "train")
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert str(trained.folder) not in run.info.artifact_uri
    path = trained.client.download_artifacts(run.info.run_id, "configs/mosaic.yaml", str(tmp_path))
    assert Path(path).read_bytes() == (trained.folder / "configs/mosaic.yaml").read_bytes()
    assert len(list((trained.server / "artifacts").rglob("mosaic.yaml"))) == 1


def test_passwords_are_neither_printed_nor_recorded(trained):
    recorded = "".join(repr(run.to_dictionary()) for stage in ("train", "evaluate") for run in runs(trained, stage))
    written = "".join(path.read_text(errors="ignore") for path in trained.folder.rglob("*.json"))
    assert "bea" not in os.environ["MLFLOW_TRACKING_URI"]
    for password in (ADA, BEA):
        assert password not in trained.printed + recorded + written
