"""The pipeline as a user runs it: through dvc, on small phantoms and a dataset of one's own, in a repository."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from pages import AFTER_A_RUN, shell_blocks
from PIL import Image
from safetensors import safe_open
from small import SMALL, Repository, copied

from mosaic_pipeline.config import load_config
from mosaic_pipeline.reporting.means import summary
from mosaic_pipeline.tracking.tested import results_of

THYROID = {
    "title": "Thyroid ultrasound",
    "dimension": 2,
    "channels": 1,
    "task": "binary-class",
    "classes": ["benign", "malignant"],
    "specialist": "D",  # a group of its own
    "licence": "CC BY 4.0",
    "path": "thyroid.npz",  # at the repository's root
    "kind": "npz",
}
DATASETS = [*SMALL["data"]["datasets"], "thyroid"]
SPECIALISTS = ["A", "B", "C", "D"]
CHANGE = {
    "data": {"datasets": DATASETS, "own": {"thyroid": THYROID}},
    "specialists": SPECIALISTS,
    "adapter": {"bottleneck_d": 5},
}


def small_pipeline(folder: Path) -> Repository:
    """The small pipeline with one more dataset, of one's own, whose images tell the classes by their brightness."""
    labels = np.arange(60) % 2
    images = np.random.default_rng(0).integers(0, 128, (60, 20, 16)) + 100 * labels[:, None, None]
    repository = copied(folder, CHANGE)
    np.savez(folder / THYROID["path"], images=images.astype(np.uint8), labels=labels)
    repository.commit("a dataset of one's own")
    return repository


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Repository:
    """The pipeline after one `dvc repro`, committed."""
    repository = small_pipeline(tmp_path_factory.mktemp("pipeline"))
    repository.run("dvc", "repro")
    repository.commit("results")
    return repository


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_a_first_run_leaves_a_report_of_what_it_trained(repository):
    reports = repository.folder / "reports"
    assert {path.name for path in reports.iterdir()} >= {"index.html", "ablation.md", "results.csv", "summary.json"}
    rows = list(csv.DictReader((reports / "results.csv").open()))
    assert {(row["variant"], row["dataset"]) for row in rows} == {
        (variant, dataset) for variant in ("mosaic", "linear_probe") for dataset in DATASETS
    }
    summary = json.loads((reports / "summary.json").read_text())
    own = [float(row["acc"]) for row in rows if row["variant"] == "mosaic"]
    assert summary["mean_acc"] == pytest.approx(sum(own) / len(DATASETS))
    assert "phantom" in (reports / "index.html").read_text().lower()


def test_a_number_names_its_code_and_model_and_a_report_rendered_again_is_the_same_bytes(repository):
    head = repository.run("git", "rev-parse", "HEAD~1").strip()  # results are no code
    rows = list(csv.DictReader((repository.folder / "reports/results.csv").open()))
    assert {row["revision"] for row in rows} == {head}
    for variant in SMALL["ablation"]["run"]:
        model = md5(repository.folder / f"runs/{variant}/42/model.safetensors")
        assert {row["md5_model"] for row in rows if row["variant"] == variant} == {model}
    summary = json.loads((repository.folder / "reports/summary.json").read_text())
    assert (summary["revision"], summary["md5_model_42"]) == (head, rows[0]["md5_model"])
    repository.run("dvc", "repro", "-s", "-f", "report")
    assert repository.run("git", "status", "--porcelain") == ""


def test_a_dataset_of_ones_own_in_a_group_of_its_own_trains_its_specialist_and_is_reported(repository):
    routing = yaml.safe_load((repository.folder / "configs/mosaic.yaml").read_text())["routing"]
    assert routing["datasets"]["thyroid"] == "D"
    assert routing["sizes"]["D"] == 5
    with safe_open(repository.folder / "runs/mosaic/42/model.safetensors", framework="np") as model:
        trained = model.get_tensor("student.specialists.D.0.up.weight")
    assert trained.shape[1] == 5
    assert trained.any()  # it starts at zero
    reports = repository.folder / "reports"
    rows = [row for row in csv.DictReader((reports / "results.csv").open()) if row["dataset"] == "thyroid"]
    assert {(row["variant"], row["specialist"], row["source"]) for row in rows} == {
        ("mosaic", "D", "own"),
        ("linear_probe", "D", "own"),
    }
    page = (reports / "index.html").read_text()
    assert "D for Thyroid ultrasound" in page
    assert "1 dataset, routed to D (size 5)" in page
    assert "Thyroid ultrasound" in (reports / "specialists/D.html").read_text()
    assert "CC BY 4.0 (Thyroid ultrasound)" in page


def test_a_first_run_says_which_dataset_test_cases_are_proposed_to_be_of(repository):
    tested = json.loads((repository.folder / "recognition/test.json").read_text())["datasets"]
    assert list(tested) == DATASETS
    for record in tested.values():
        assert sum(record["proposed"].values()) + record["none"] == record["n"] > 0
    assert 'id="recognition"' in (repository.folder / "reports/index.html").read_text()
    (run,) = repository.runs(stage="recognise")
    right = [record["proposed"].get(name, 0) / record["n"] for name, record in tested.items()]
    assert run.data.metrics["recognise/right"] == pytest.approx(sum(right) / len(right))


def test_a_second_run_finds_everything_up_to_date(repository):
    assert "Data and pipelines are up to date." in repository.run("dvc", "repro")
    assert "Data and pipelines are up to date." in repository.run("dvc", "status")
    assert repository.run("git", "status", "--porcelain") == ""


def test_what_was_pushed_is_all_that_a_fresh_clone_needs(repository, tmp_path):
    repository.run("git", "clone", "-q", ".", str(tmp_path / "clone"))
    clone = Repository(tmp_path / "clone")
    for each in (repository, clone):
        each.run("dvc", "remote", "add", "--local", "--default", "group", str(tmp_path / "remote"))
    repository.run("dvc", "push")
    clone.run("dvc", "pull", "--allow-missing")
    assert not list((clone.folder / "data/raw").glob("*"))  # which nothing reads any more
    assert "Data and pipelines are up to date." in clone.run("dvc", "repro", "--allow-missing")
    assert clone.run("git", "status", "--porcelain") == ""


def test_what_the_manual_does_with_a_trained_model_can_be_done(repository, tmp_path):
    for index in range(3):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(np.full((28, 28, 3), 60 * index, np.uint8)).save(tmp_path / f"photos/{index}.png")
    there = Repository(repository.folder)
    there.environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(there.folder / "pipeline")}
    printed = [there.run("bash", "-euc", block.text) for block in shell_blocks() if block.mark == AFTER_A_RUN]
    kept = [line for text in printed for line in text.splitlines()]
    # Traced from a number to its run, where all of it was made.
    assert [line for line in kept if line.split()[:3] == ["recorded", "MLflow", "run"]]
    assert not [line for line in kept if line.startswith(("missing", "differs"))]
    assert len(list(csv.DictReader((there.folder / "out.csv").open()))) == 3
    (there.folder / "out.csv").unlink()
    assert there.run("git", "status", "--porcelain") == ""


def test_data_weights_and_configurations_are_the_same_bytes_in_another_run(repository, tmp_path):
    other = small_pipeline(tmp_path)
    other.run("python", "-m", "stages.declare")
    for name in DATASETS:
        other.run("python", "-m", "stages.download", name)
        other.run("python", "-m", "stages.cache", name)
    other.run("python", "-m", "stages.weights")
    other.run("python", "-m", "stages.recognise")
    for variant in SMALL["ablation"]["run"]:
        other.run("python", "-m", "stages.configure", variant)
        other.run("python", "-m", "stages.tune", variant)
    files = [
        path.relative_to(tmp_path)
        for part in ("declared", "data", "weights", "recognition", "candidates", "configs", "tuning")
        for path in (tmp_path / part).rglob("*")
        if path.is_file() and path.name != ".gitignore"
    ]
    assert len(files) == len(DATASETS) * (2 + 1 + 8) + 1 + 2 + 3 * 2
    assert [md5(tmp_path / file) for file in files] == [md5(repository.folder / file) for file in files]


def test_each_training_and_evaluation_is_a_finished_run_tied_by_the_models_content(repository):
    for variant in SMALL["ablation"]["run"]:
        (training,) = repository.runs(stage="train", variant=variant)
        assert training.info.status == "FINISHED"
        assert training.data.tags["md5.model"] == md5(repository.folder / f"runs/{variant}/42/model.safetensors")
        assert len(training.data.tags["md5.data"]) == 32
        assert training.data.tags["md5.config"] == md5(repository.folder / f"configs/{variant}.yaml")
        evaluations = repository.runs(stage="evaluate", variant=variant)
        assert {run.data.tags["specialist"] for run in evaluations} == set(SPECIALISTS)
        assert {run.data.tags["mlflow.parentRunId"] for run in evaluations} == {training.info.run_id}
        assert {run.data.tags["md5.model"] for run in evaluations} == {training.data.tags["md5.model"]}
        assert {len(run.data.tags["md5.data"]) for run in evaluations} == {32}
        resolved = f"mlartifacts/{training.info.run_id}/artifacts/configs/{variant}.yaml"
        assert md5(repository.folder / resolved) == training.data.tags["md5.config"]
        for part, runs in (("training", [training]), ("test", evaluations)):
            read = {item.dataset.name: item.dataset.digest for run in runs for item in run.inputs.dataset_inputs}
            cached = repository.folder / "data/cached" / part
            assert read == {name: md5(cached / name / "meta.json") for name in DATASETS}
    report, *_ = repository.runs(stage="report")
    assert (repository.folder / "mlartifacts").is_dir()
    assert report.info.status == "FINISHED"


def test_metrics_in_mlflow_are_those_of_the_report(repository):
    rows = csv.DictReader((repository.folder / "reports/results.csv").open())
    reported = {(row["variant"], row["dataset"]): float(row["acc"]) for row in rows}
    for run in repository.runs(stage="evaluate"):
        for key, value in run.data.metrics.items():
            _, dataset, measure = key.split("/")
            if measure == "acc":
                assert value == pytest.approx(reported[run.data.tags["variant"], dataset])


def traced(repository, thing: str, fails: bool = False) -> dict[str, list[dict]]:
    """The nodes of a thing's tree by kind."""
    printed = repository.run("python", "-m", "mosaic_pipeline", "trace", thing, "--json", fails=fails)
    found: dict[str, list[dict]] = {}
    todo = [json.loads(printed)["tree"]]
    while todo:
        node = todo.pop()
        found.setdefault(node["kind"], []).append(node)
        todo += node.get("parts", ())
    return found


def test_a_number_leads_to_all_that_made_it_and_every_byte_of_that_is_verified(repository):
    found = traced(repository, "mosaic/42/thyroid")
    assert "differs" not in {node["state"] for nodes in found.values() for node in nodes}
    for kind in (
        *("row", "report", "evaluation", "model", "configuration", "candidates", "weights", "code", "code revision"),
        *("training data", "training data, together", "test data", "test data, together", "raw file", "parameters"),
    ):
        assert {node["state"] for node in found[kind]} == {"verified"}, kind
    assert {node["name"] for node in found["test data"]} == {"data/cached/test/thyroid"}
    assert {node["name"] for node in found["training data"]} == {f"data/cached/training/{name}" for name in DATASETS}
    (trained,) = repository.runs(stage="train", variant="mosaic")
    (tested,) = repository.runs(stage="evaluate", variant="mosaic", specialist="D")
    assert {node["name"] for node in found["MLflow run"]} == {trained.info.run_id, tested.info.run_id}
    assert found["device"][0]["name"] == trained.data.tags["device"]


def test_on_a_fresh_clone_a_number_leads_to_what_is_recorded_and_to_the_code_that_ran(repository, tmp_path):
    repository.run("git", "clone", "-q", ".", str(tmp_path / "clone"))
    found = traced(Repository(tmp_path / "clone"), "mosaic/42/thyroid")
    for kind in ("model", "configuration", "weights", "training data", "raw file"):
        assert {node["state"] for node in found[kind]} == {"recorded"}, kind
    assert {node["state"] for node in found["code"]} == {"verified"}
    assert {node["state"] for node in found["MLflow run"]} == {"missing"}


def reported_means(repository, specialist):
    """Means of the main variant that the report has, by their names in MLflow; of one specialist's datasets too."""
    summary = json.loads((repository.folder / "reports/summary.json").read_text())
    return {f"test/mean_{metric}": summary[f"mean_{metric}"] for metric in ("acc", "auc")} | {
        f"test/{specialist}/mean_{metric}": summary[f"{metric}_{specialist}"] for metric in ("acc", "auc")
    }


def test_a_training_carries_the_means_that_the_report_has_and_says_them(repository):
    rows = [row for row in csv.DictReader((repository.folder / "reports/results.csv").open())]
    for variant in SMALL["ablation"]["run"]:
        (training,) = repository.runs(stage="train", variant=variant)
        own = [float(row["acc"]) for row in rows if row["variant"] == variant]
        assert training.data.metrics["test/mean_acc"] == pytest.approx(sum(own) / len(own))
        note = training.data.tags["mlflow.note.content"]
        assert note.startswith(f"**{variant}**, seed 42: ")
        assert "- **Data**: 4 datasets (phantom, own): retinamnist, breastmnist, nodulemnist3d, thyroid" in note
        assert "- **Validation**: best round " in note
        assert f"- **Test**: mean ACC {training.data.metrics['test/mean_acc']:.3f}, AUC " in note
    (training,) = repository.runs(stage="train", variant="mosaic")
    for specialist in SPECIALISTS:
        assert reported_means(repository, specialist).items() <= training.data.metrics.items()
    (experiment,) = [each for each in repository.client().search_experiments() if each.name == "mosaic"]
    report, *_ = repository.runs(stage="report")  # the latest
    assert f"runs/{report.info.run_id}/artifacts/index.html)" in experiment.tags["mlflow.note.content"]


def test_runs_of_two_variants_compare_by_the_same_names(repository):
    mosaic, probe = (repository.runs(stage="train", variant=variant)[0] for variant in SMALL["ablation"]["run"])
    assert mosaic.data.metrics.keys() == probe.data.metrics.keys()
    assert probe.data.params.keys() < mosaic.data.params.keys()  # which has specialists beside
    assert (mosaic.data.params["adapter.kind"], probe.data.params["adapter.kind"]) == ("bottleneck", "none")


def test_means_are_told_once_whatever_is_run_again(repository):
    """A model that is tested again changes nothing, and one that is trained again has the tests that it had."""
    (training,) = repository.runs(stage="train", variant="mosaic")

    def points():
        return len(repository.client().get_metric_history(training.info.run_id, "test/mean_acc"))

    assert points() == 1
    repository.run("python", "-m", "stages.evaluate", "mosaic", "42", "B")
    assert points() == 1
    repository.run("python", "-m", "stages.train", "mosaic", "42")
    again, first = repository.runs(stage="train", variant="mosaic")
    assert (first.info.run_id, points()) == (training.info.run_id, 1)
    means = {key: value for key, value in first.data.metrics.items() if key.startswith("test/")}
    assert {key: value for key, value in again.data.metrics.items() if key.startswith("test/")} == means
    repository.client().delete_run(again.info.run_id)
    assert repository.run("git", "status", "--porcelain") == ""


def test_means_wait_for_all_evaluations_of_this_model_on_these_data(repository, tmp_path, monkeypatch):
    for folder in ("runs", "evaluation", "data/cached", "configs"):
        shutil.copytree(repository.folder / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    config, model = load_config(Path("configs/mosaic.yaml")), md5(Path("runs/mosaic/42/model.safetensors"))

    def means():
        results = results_of("mosaic", 42, config, model)
        return results and summary(results)["mean_acc"]

    reported = json.loads((repository.folder / "reports/summary.json").read_text())["mean_acc"]
    assert means() == reported
    assert results_of("mosaic", 42, config, "0" * 32) is None  # of the model before this one
    for file, spoil in {
        Path("evaluation/mosaic/42/B.json"): lambda text: None,
        Path("evaluation/mosaic/42/C.json"): lambda text: "{",
        Path("evaluation/mosaic/42/D.json"): lambda text: text.replace(model, "0" * 32),
        Path("data/cached/test/thyroid/meta.json"): lambda text: text.replace("CC BY 4.0", "CC0"),
    }.items():
        text = file.read_text()
        file.unlink()
        if changed := spoil(text):
            file.write_text(changed)
        assert means() is None, file
        file.unlink(missing_ok=True)
        file.write_text(text)
    assert means() == reported


@pytest.fixture(scope="module")
def experiment(repository) -> str:
    """What `dvc exp run -S adapter.bottleneck_c=6` printed; its results stay in the workspace."""
    return repository.run("dvc", "exp", "run", "-n", "wider", "-S", "adapter.bottleneck_c=6")


@pytest.fixture
def restored(repository) -> Repository:
    """The repository, after the test as it was committed, also where the test failed."""
    yield repository
    repository.restore()


def test_an_experiment_retrains_only_what_its_parameter_can_influence(experiment):
    ran = {line.split("'")[1] for line in experiment.splitlines() if line.startswith("Running stage")}
    skipped = {line.split("'")[1] for line in experiment.splitlines() if "didn't change, skipping" in line}
    evaluated = {f"evaluate@mosaic-42-{specialist}" for specialist in SPECIALISTS}
    configured = {"configure@mosaic", "configure@linear_probe"}
    assert ran == {"check", *configured, "tune@mosaic", "train@mosaic-42", *evaluated, "analyse@mosaic-42", "report"}
    assert {
        "tune@linear_probe",
        "train@linear_probe-42",
        "evaluate@linear_probe-42-C",
        "weights",
        "cache@retinamnist",
    } <= skipped


def test_an_experiments_value_stands_in_mlflow_in_exp_show_and_in_the_report(repository, experiment):
    (run,) = repository.search("""params."adapter.bottleneck_c" = '6'""")
    assert (run.info.run_name, run.data.tags["dvc.exp_name"]) == ("mosaic-42", "wider")
    assert reported_means(repository, "C").items() <= run.data.metrics.items()
    table = list(csv.DictReader(repository.run("dvc", "exp", "show", "--csv").splitlines()))
    (row,) = [row for row in table if row["Experiment"] == "wider"]
    assert row["adapter.bottleneck_c"] == "6"
    assert float(row["mean_acc"]) > 0
    assert "C 6" in (repository.folder / "reports/index.html").read_text()


def test_an_experiment_is_traced_and_its_model_found_in_the_run_cache_with_its_own_run(repository, experiment):
    (wider,) = [run for run in repository.runs(stage="train") if run.data.tags.get("dvc.exp_name") == "wider"]
    md5_model = wider.data.tags["md5.model"]
    found = traced(repository, "wider")
    assert md5_model in {node["md5"] for node in found["model"]}
    assert {node["state"] for node in found["model"]} == {"verified"}
    repository.restore()  # dvc.lock knows the other model again; the workspace has this one
    again = traced(repository, md5_model)
    assert [node["name"] for node in again["MLflow run"]] == [wider.info.run_id]
    assert (again["model"][0]["md5"], again["model"][0]["state"]) == (md5_model, "verified")
    assert traced(repository, "mosaic/42", fails=True)["model"][0]["state"] == "differs"


@pytest.mark.parametrize("written", ["0.00001", "3e-5"])
def test_numbers_that_dvc_rewrites_are_still_numbers(restored, written):
    tuned, grid = "ablation.tune.variants=[linear_probe]", f"ablation.tune.grid={{train.lr: [0.5, {written}]}}"
    restored.run("dvc", "exp", "run", "-S", f"train.lr={written}", "-S", tuned, "-S", grid, "configure")
    tried = [
        yaml.safe_load((restored.folder / f"candidates/{variant}.yaml").read_text())["tried"]
        for variant in ("mosaic", "linear_probe")
    ]
    rates = [[candidate["config"]["train"]["lr"] for candidate in candidates] for candidates in tried]
    assert rates == [[float(written)], [0.5, float(written)]]
    assert tried[1][1]["values"] == {"train.lr": float(written)}


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "adapter.bottleneck_c=0",
            "error: params.yaml: adapter.bottleneck_c = 0: should be greater than or equal to 1",
        ),
        (
            "adapter.routing=foo",
            "error: params.yaml: adapter.routing = 'foo': should be 'specialists', 'modality', 'shared', "
            "'per_dataset', 'random' or 'gated'",
        ),
        ("+adapter.botleneck_c=8", "error: params.yaml: adapter.botleneck_c: unknown key; did you mean bottleneck_c?"),
    ],
)
def test_a_wrong_parameter_stops_the_experiment_with_one_clear_line(restored, override, line):
    printed = restored.run("dvc", "exp", "run", "-S", override, "configure@mosaic", fails=True)
    assert [text for text in printed.splitlines() if text.startswith("error:")] == [line]
    assert "Traceback" not in printed


def test_a_report_that_fails_leaves_the_last_one(restored):
    params, reports = restored.folder / "params.yaml", restored.folder / "reports"
    before = {path: path.read_bytes() for path in reports.rglob("*.*")}
    assert reports / "specialists/A.html" in before
    params.write_text(params.read_text().replace("published: null", "published: nowhere.csv"))
    printed = restored.run("dvc", "repro", "-s", "report", fails=True)
    assert "error: nowhere.csv: no such file; " in printed.replace(f"{restored.folder}/", "")
    assert {path: path.read_bytes() for path in reports.rglob("*.*")} == before


def test_queued_experiments_lose_no_run_and_leave_no_artifact_in_a_temporary_folder(repository):
    before = {run.info.run_id for run in repository.runs(stage="train")}
    for width in (7, 8, 9):
        repository.run("dvc", "exp", "run", "--queue", "-S", f"adapter.bottleneck_a={width}", "train@mosaic-42")
    repository.run("dvc", "exp", "run", "--run-all")
    new = [run for run in repository.runs(stage="train") if run.info.run_id not in before]
    assert sorted(run.data.params["adapter.bottleneck_a"] for run in new) == ["7", "8", "9"]
    assert {run.info.status for run in new} == {"FINISHED"}
    for run in new:
        assert run.info.artifact_uri.removeprefix("file://").startswith(str(repository.folder / "mlartifacts"))
    assert not list((repository.folder / ".dvc/tmp").rglob("mlflow.db"))
    assert not list((repository.folder / ".dvc/tmp").rglob("mlartifacts"))
