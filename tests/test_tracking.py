import io
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mosaic_pipeline.command import Terminated
from mosaic_pipeline.digest import md5_text
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.params import Tracking
from mosaic_pipeline.tracking import Inputs, git_revision, headline, tracked_run
from mosaic_pipeline.tracking.anchor import follow
from mosaic_pipeline.tracking.delivery import Delivery
from mosaic_pipeline.tracking.journal import Journal, all_journals
from mosaic_pipeline.tracking.notes import EXPERIMENT, NOTE, amended
from mosaic_pipeline.tracking.operations import (
    Artifact,
    Begin,
    DatasetInput,
    Description,
    End,
    ExperimentLink,
    MeansOfTests,
    Model,
    Params,
    Points,
    Remember,
    Tags,
    Target,
    Text,
    Trainings,
)
from mosaic_pipeline.tracking.run import PARAM_LENGTH, flatten
from mosaic_pipeline.tracking.store import open_store

REPOSITORY = Path(__file__).parents[1]
TRACKING = Tracking(experiment="mosaic", system_metrics=False)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """A created database without our experiment: creating one takes a second, copying it none."""
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_ROOT", str(folder))
        open_store("template")
    moved = tmp_path_factory.mktemp("database") / "mlflow.db"
    shutil.copy(folder / "mlflow.db", moved)
    shutil.rmtree(folder)
    return moved


@pytest.fixture
def root(tmp_path, monkeypatch, empty_database):
    """A project's root with an empty store, and the current directory."""
    for variable in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(variable, raising=False)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    with redirect_stderr(io.StringIO()):  # the database tells that it was moved
        follow(tmp_path, timeout=1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def client(root):
    return MlflowClient(f"sqlite:///{root}/mlflow.db")


def runs(root):
    """All runs of the experiment, oldest first."""
    experiment = client(root).get_experiment_by_name("mosaic")
    return client(root).search_runs([experiment.experiment_id], order_by=["start_time ASC"])


def start(script, root, **environment):
    """Start a Python process in `root` that runs `script` with our package."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "DVC_"))}
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=root,
        env=inherited | {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'pipeline'}"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, process=None):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for a minute"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


# --- the store

CONNECT_TOGETHER = """
import time
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from mosaic_pipeline.params import Tracking
from mosaic_pipeline.tracking import tracked_run

Path(f"{NAME}.ready").touch()
while not Path("go").exists():
    time.sleep(0.001)
with tracked_run("train", NAME, Tracking(experiment="mosaic", system_metrics=False)) as run:
    run.log_metrics({"loss": 1.0}, step=0)
"""


def test_processes_that_create_the_database_at_the_same_moment_lose_no_run(tmp_path):
    names = ["one", "two"]
    processes = [start(f"NAME = {name!r}{CONNECT_TOGETHER}", tmp_path) for name in names]
    for name, process in zip(names, processes, strict=True):
        wait_for((tmp_path / f"{name}.ready").exists, process)
    (tmp_path / "go").touch()

    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert {run.info.run_name: run.data.metrics for run in runs(tmp_path)} == {name: {"loss": 1.0} for name in names}


def test_a_queued_experiment_leaves_its_run_and_artifacts_in_the_main_repository(root, tmp_path_factory, monkeypatch):
    copy = tmp_path_factory.mktemp("queued")
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(root))
    Path("report.html").touch()
    with tracked_run("report", "report", TRACKING) as run:
        run.log_artifact(Path("report.html"), "reports")
    Path("report.html").unlink()

    assert (root / "mlartifacts" / run.id / "artifacts" / "reports" / "report.html").exists()
    assert [record.info.run_id for record in runs(root)] == [run.id]
    assert list(copy.iterdir()) == []


def test_mlflow_tracking_uri_wins_over_the_database_of_the_project(root, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.move(root / "mlflow.db", elsewhere / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}/mlflow.db")
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        pass

    assert [record.info.run_id for record in runs(elsewhere)] == [run.id]
    assert not (root / "mlflow.db").exists()


def test_a_server_that_is_not_there_is_one_line_with_its_uri_and_without_its_password(root, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:secret@{address}")
    with pytest.raises(PipelineError) as caught, tracked_run("train", "mosaic-42", TRACKING):
        pass

    message = str(caught.value)
    assert f"http://{address}: [Errno 111] Connection refused; " in message
    assert "MLFLOW_TRACKING_URI" in message
    assert "secret" not in message
    assert "\n" not in message


def test_a_file_that_is_no_database_is_one_line_with_its_name(root):
    (root / "mlflow.db").write_text("not a database, and longer than a header of SQLite " * 20)
    with pytest.raises(PipelineError, match=r"mlflow\.db: file is not a database; .*move it away"):
        open_store("mosaic")


def test_a_deleted_experiment_is_one_line_with_the_way_out(root):
    identifier = open_store("mosaic").experiment_id
    client(root).delete_experiment(identifier)
    with pytest.raises(PipelineError, match=f"'mosaic' was deleted; .*--experiment-id {identifier}"):
        open_store("mosaic")
    with pytest.raises(PipelineError, match="was deleted"), tracked_run("train", "mosaic-42", TRACKING):
        pass
    assert all_journals(root) == []


def test_an_experiment_that_another_process_creates_first_is_used(root, monkeypatch):
    expected = open_store("mosaic").experiment_id
    answers = iter([None])  # the first look came too early
    find = MlflowClient.get_experiment_by_name
    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", lambda self, name: next(answers, find(self, name)))
    assert open_store("mosaic").experiment_id == expected


def test_mlflow_is_not_imported_before_a_run_begins():
    process = start("import sys, mosaic_pipeline.tracking; print('mlflow' in sys.modules)", REPOSITORY)
    assert process.communicate() == ("False\n", "")


def test_no_other_package_imports_mlflow():
    """But for what MLflow itself loads to serve a bundle, which must not need what tracking does."""
    sources = [path for folder in ("pipeline", "stages") for path in (REPOSITORY / folder).rglob("*.py")]
    importing = [path for path in sources if re.search(r"^\s*(import|from) mlflow", path.read_text(), re.MULTILINE)]
    assert importing
    library = REPOSITORY / "pipeline/mosaic_pipeline"
    loaded = library / "serving/pyfunc.py"
    assert loaded in importing
    assert {path.parent for path in importing if path != loaded} == {library / "tracking"}


# --- how a run ends


def test_a_run_is_running_in_its_body_and_finished_after_it(root):
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        assert client(root).get_run(run.id).info.status == "RUNNING"
    assert client(root).get_run(run.id).info.status == "FINISHED"


@pytest.mark.parametrize("error", [ValueError("bad loss"), KeyboardInterrupt(), Terminated(), SystemExit(3)])
def test_an_exception_leaves_the_run_failed_with_the_reason_and_goes_on_upwards(root, error):
    with pytest.raises(type(error)), tracked_run("train", "mosaic-42", TRACKING):
        raise error
    (record,) = runs(root)
    assert record.info.status == "FAILED"
    assert record.data.tags["error"] == repr(error)


def test_an_exit_without_error_leaves_the_run_finished(root):
    with pytest.raises(SystemExit), tracked_run("train", "mosaic-42", TRACKING):
        sys.exit(0)
    (record,) = runs(root)
    assert record.info.status == "FINISHED"
    assert "error" not in record.data.tags


def test_a_second_signal_while_the_run_is_closed_does_not_leave_it_running(root, monkeypatch):
    close, signals = Delivery.finish, iter([Terminated()])

    def interrupted_once(*arguments, **keywords):
        for second in signals:
            raise second
        return close(*arguments, **keywords)

    monkeypatch.setattr(Delivery, "finish", interrupted_once)
    with pytest.raises(Terminated), tracked_run("train", "mosaic-42", TRACKING):
        raise KeyboardInterrupt
    assert runs(root)[0].info.status == "FAILED"


TRAIN_FOREVER = """
import time
from pathlib import Path
from mosaic_pipeline.command import run_command
from mosaic_pipeline.params import Tracking
from mosaic_pipeline.tracking import tracked_run

def main():
    with tracked_run("train", "mosaic-42", Tracking(experiment="mosaic", system_metrics=True), system_metrics=True):
        Path("training").touch()
        time.sleep(600)

run_command(main)
"""


def test_sigterm_leaves_the_run_failed_and_mlflow_says_nothing_even_when_it_creates_its_database(tmp_path):
    process = start(TRAIN_FOREVER, tmp_path)
    wait_for((tmp_path / "training").exists, process)
    process.send_signal(signal.SIGTERM)

    assert process.communicate() == ("", "terminated (SIGTERM)\n")
    assert process.returncode == 143
    assert [run.info.status for run in runs(tmp_path)] == ["FAILED"]


# --- what a run holds


def test_a_run_tells_its_stage_experiment_code_and_inputs(root, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "train@mosaic-42")
    monkeypatch.setenv("DVC_EXP_NAME", "icy-moss")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc123")
    with tracked_run("train", "mosaic-42", TRACKING, tags={"variant": "mosaic", "seed": "42", "md5.config": "f00"}):
        pass
    (record,) = runs(root)
    expected = {
        "stage": "train",
        "variant": "mosaic",
        "seed": "42",
        "md5.config": "f00",
        "dvc.stage": "train@mosaic-42",
        "dvc.exp_name": "icy-moss",
        "dvc.exp_baseline": "abc123",
        "git.revision": "unknown",
        "mlflow.source.name": "stages/train.py",
        "mlflow.runName": "mosaic-42",
    }
    assert record.data.tags.items() >= expected.items()


def test_an_inherited_run_id_is_not_taken_over(root, monkeypatch):
    with tracked_run("train", "first", TRACKING) as first:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", first.id)
    with tracked_run("train", "second", TRACKING) as second:
        pass
    assert first.id != second.id


def test_params_are_flattened_to_dotted_keys_with_values_as_in_json():
    tree = {"train": {"lr": 1e-5, "resume": None, "compile": True}, "seeds": (42, 7), "name": "mosaic", "overrides": {}}
    assert flatten(tree) == {
        "train.lr": "1e-05",
        "train.resume": "null",
        "train.compile": "true",
        "seeds": "[42, 7]",
        "name": "mosaic",
        "overrides": "{}",
    }


def test_a_param_longer_than_mlflow_allows_is_cut_and_shows_it(root, capsys):
    with tracked_run("train", "mosaic-42", TRACKING, params={"long": "x" * 7000, "train": {"lr": 0.1}}):
        pass
    (record,) = runs(root)
    assert record.data.params == {"long": "x" * (PARAM_LENGTH - 1) + "…", "train.lr": "0.1"}
    assert capsys.readouterr().err == ""


def test_more_params_than_mlflow_takes_at_once_are_all_there(root, capsys):
    many = {f"key.{index}": index for index in range(250)}
    with tracked_run("train", "mosaic-42", TRACKING, params=many):
        pass
    assert runs(root)[0].data.params == {key: str(value) for key, value in many.items()}
    assert capsys.readouterr().err == ""


def test_a_text_is_an_artifact_at_its_path(root):
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        run.log_text("model: {}\n", "configs/mosaic.yaml")
    assert (root / "mlartifacts" / run.id / "artifacts/configs/mosaic.yaml").read_bytes() == b"model: {}\n"


def test_a_round_of_metrics_keeps_its_step_and_what_is_not_finite_becomes_nan(root):
    values = {"loss/pathmnist": 0.5, "auc/breastmnist": math.nan, "loss/all": math.inf, "acc/breastmnist": None}
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        run.log_metrics(values, step=3)
    stored = runs(root)[0].data.metrics
    assert stored == pytest.approx(dict.fromkeys(values, math.nan) | {"loss/pathmnist": 0.5}, nan_ok=True)
    assert [metric.step for metric in client(root).get_metric_history(run.id, "loss/pathmnist")] == [3]


def test_a_metric_name_that_mlflow_refuses_does_not_keep_the_others_out(root):
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        run.log_metrics({"acc@1": 0.5, "acc": 0.6})
    assert runs(root)[0].data.metrics == {"acc_1": 0.5, "acc": 0.6}


def test_datasets_are_inputs_with_source_digest_and_use(root):
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        run.log_dataset("pathmnist", "https://zenodo.org/pathmnist.npz", "a" * 32, "training")
        run.log_dataset("breastmnist", "data/raw/breastmnist.npz", "b" * 32, "validation")
    found = {
        (data.dataset.name, data.dataset.source_type, data.dataset.source, data.dataset.digest, data.tags[0].value)
        for data in client(root).get_run(run.id).inputs.dataset_inputs
    }
    assert found == {
        ("pathmnist", "http", '{"url": "https://zenodo.org/pathmnist.npz"}', "a" * 32, "training"),
        ("breastmnist", "local", '{"uri": "data/raw/breastmnist.npz"}', "b" * 32, "validation"),
    }


def test_system_metrics_are_sampled_when_asked_for(root, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    with tracked_run("train", "mosaic-42", TRACKING, system_metrics=True) as run:
        wait_for(lambda: "system/cpu_utilization_percentage" in client(root).get_run(run.id).data.metrics)
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        time.sleep(0.2)
    assert client(root).get_run(run.id).data.metrics == {}


# --- lineage


def test_an_evaluation_nests_under_the_latest_training_run_of_the_same_model(root):
    trained = []
    for name, md5 in (("mosaic-42", "aaa"), ("mosaic-42", "aaa"), ("shared-42", "bbb")):
        with tracked_run("train", name, TRACKING) as run:
            run.log_model(name, md5)
        trained.append(run.id)
        time.sleep(0.002)  # the next start time
    with tracked_run("evaluate", "mosaic-42-A", TRACKING, tags={"md5.model": "aaa"}) as first:
        pass
    with tracked_run("evaluate", "mosaic-42-B", TRACKING, parent_model_md5="aaa") as nested:
        pass

    assert "mlflow.parentRunId" not in client(root).get_run(first.id).data.tags
    assert client(root).get_run(nested.id).data.tags["mlflow.parentRunId"] == trained[1]


def test_a_report_keeps_which_runs_trained_its_models_and_tells_nobody_else(root):
    ids = []
    for name in ("first", "again", "other"):
        with tracked_run("train", name, TRACKING) as run:
            run.log_model(name, md5={"other": "b"}.get(name, "a") * 32)
        ids.append(run.id)
    with tracked_run("evaluate", "test", TRACKING, tags={"md5.model": "a" * 32}):
        pass
    models = {("mosaic", 1): "a" * 32, ("mosaic", 2): "c" * 32, ("shared", 1): "b" * 32, ("shared", 2): None}
    with tracked_run("report", "report", TRACKING) as run:
        run.log_trainings(models)
    kept = Path(client(root).download_artifacts(run.id, "trainings.csv")).read_text().splitlines()
    assert kept == [
        "variant,seed,md5_model,run",
        *(f"mosaic,1,{'a' * 32},{each}" for each in ids[:2]),  # the oldest first
        f"mosaic,2,{'c' * 32},",
        f"shared,1,{'b' * 32},{ids[2]}",
        "shared,2,,",
    ]


def test_an_evaluation_of_a_model_that_the_store_does_not_know_has_no_parent(root):
    with tracked_run("train", "mosaic-42", TRACKING) as trained:
        trained.log_model("mosaic-42", "aaa")
    with tracked_run("evaluate", "mosaic-42-A", TRACKING, parent_model_md5="bbb") as run:
        run.log_metrics({"acc": 0.5})
    record = client(root).get_run(run.id)
    (model,) = client(root).search_logged_models([record.info.experiment_id])
    assert "mlflow.parentRunId" not in record.data.tags
    assert record.data.metrics == {"acc": 0.5}
    assert not model.metrics


def test_metrics_of_an_evaluation_belong_to_the_model_and_the_dataset(root):
    with tracked_run("train", "mosaic-42", TRACKING) as trained:
        trained.log_model("mosaic-42", "aaa")
    with tracked_run("evaluate", "mosaic-42-A", TRACKING, parent_model_md5="aaa") as run:
        run.log_dataset("pathmnist", "data/cached/pathmnist", "d" * 32, "testing")
        run.log_metrics({"pathmnist/acc": 0.5}, dataset="pathmnist")

    (model,) = client(root).search_logged_models([client(root).get_run(run.id).info.experiment_id])
    (metric,) = model.metrics
    assert (model.name, model.source_run_id, model.tags["md5.model"]) == ("mosaic-42", trained.id, "aaa")
    assert (metric.key, metric.value, metric.dataset_name) == ("pathmnist/acc", 0.5, "pathmnist")
    assert client(root).get_run(run.id).data.metrics == {"pathmnist/acc": 0.5}


# --- descriptions, and what tests tell the training


def described(root, run_id):
    return client(root).get_run(run_id).data.tags.get(NOTE, "")


def test_a_line_of_a_description_takes_the_place_of_its_last_one_and_leaves_all_others():
    note = amended("**mosaic**, seed 42: why", "Data", "2 datasets")
    assert note == "**mosaic**, seed 42: why\n\n- **Data**: 2 datasets"
    note = amended(f"{note}\n\nmy own remark", "Test", "ACC 0.5")
    assert note == "**mosaic**, seed 42: why\n\n- **Test**: ACC 0.5\n- **Data**: 2 datasets\n\nmy own remark"
    again = amended(note, "Data", "3\ndatasets")
    assert again == note.replace("2 datasets", "3 datasets")
    assert amended(again, "Test", "ACC 0.5") == again
    assert amended("", "Test", "ACC 0.5") == "- **Test**: ACC 0.5"


def test_a_run_is_described_from_its_start_and_by_its_inputs(root):
    inputs = Inputs("training", {"pathmnist": "phantom", "octmnist": "own"}, {"pathmnist": "a", "octmnist": "b"})
    note = headline("mosaic", 42, "the method")
    with tracked_run("train", "mosaic-42", TRACKING, note=note, inputs=inputs) as run:
        expected = "**mosaic**, seed 42: the method\n\n- **Data**: 2 datasets (phantom, own): pathmnist, octmnist"
        assert described(root, run.id) == expected
        run.describe("Validation", "best round 2 of 4")
    assert described(root, run.id) == expected.replace("- **Data", "- **Validation**: best round 2 of 4\n- **Data")
    data = client(root).get_run(run.id)
    assert data.data.tags["md5.data"] == md5_text('{"pathmnist": "a", "octmnist": "b"}')
    assert {(item.dataset.name, item.dataset.digest) for item in data.inputs.dataset_inputs} == {
        ("pathmnist", "a"),
        ("octmnist", "b"),
    }


def test_a_continued_run_keeps_the_description_that_somebody_gave_it(root):
    with tracked_run("train", "mosaic-42", TRACKING, note="ours") as run:
        pass
    client(root).set_tag(run.id, NOTE, "theirs")
    with tracked_run("train", "mosaic-42", TRACKING, note="ours", run_id=run.id) as run:
        run.describe("Validation", "good")
    assert described(root, run.id) == "theirs\n\n- **Validation**: good"


def test_the_experiment_says_what_it_is_and_where_the_latest_report_is(root):
    for _ in range(2):
        with tracked_run("report", "report", TRACKING) as run:
            run.point_from_experiment("Report", "index.html")
    experiment = client(root).get_experiment_by_name("mosaic")
    link = f"(#/experiments/{experiment.experiment_id}/runs/{run.id}/artifacts/index.html)"
    assert experiment.tags[NOTE].startswith(EXPERIMENT.partition("\n")[0])
    assert experiment.tags[NOTE].count(f"- **Report**: [index.html]{link}, of the run report\n") == 1

    client(root).set_experiment_tag(experiment.experiment_id, NOTE, "Our study.")
    with tracked_run("report", "report", TRACKING) as run:
        run.point_from_experiment("Report", "index.html")
    note = client(root).get_experiment_by_name("mosaic").tags[NOTE]
    assert note.startswith("Our study.\n\n- **Report**: ")


def points(root, run_id, key="test/mean_acc"):
    return [point.value for point in client(root).get_metric_history(run_id, key)]


def test_every_training_of_a_model_is_told_its_test_means_once(root):
    trained = {}
    for name, stage, md5 in (
        ("first", "train", "aaa"),
        ("again", "train", "aaa"),
        ("other", "train", "bbb"),
        ("tuned", "tune", "aaa"),
    ):
        with tracked_run(stage, name, TRACKING, note=name) as run:
            run.log_model(name, md5)
        trained[name] = run.id
    for means in ({"test/mean_acc": 0.5, "test/mean_auc": None},) * 2:  # the last two of its evaluations, at once
        with tracked_run("evaluate", "mosaic-42-A", TRACKING, parent_model_md5="aaa") as run:
            run.tell_trainings("aaa", means, "ACC 0.500")
    for name in ("first", "again"):
        assert points(root, trained[name]) == [0.5]
        assert points(root, trained[name], "test/mean_auc") == []
        assert described(root, trained[name]) == f"{name}\n\n- **Test**: ACC 0.500"
    for name in ("other", "tuned"):
        assert client(root).get_run(trained[name]).data.metrics == {}

    with tracked_run("evaluate", "mosaic-42-A", TRACKING, parent_model_md5="aaa") as run:  # on another test split
        run.tell_trainings("aaa", {"test/mean_acc": 0.4}, "ACC 0.400")
    record = client(root).get_run(trained["first"])
    assert record.data.metrics == {"test/mean_acc": 0.4}
    assert record.data.tags[NOTE] == "first\n\n- **Test**: ACC 0.400"
    assert record.info.status == "FINISHED"


def test_test_means_that_cannot_be_told_are_told_later_and_the_stage_goes_on(root, outage, capsys):
    with tracked_run("train", "mosaic-42", TRACKING) as trained:
        trained.log_model("mosaic-42", "aaa")
    with tracked_run("evaluate", "mosaic-42-A", TRACKING) as run:
        wait_for(lambda: not run._sending.journal.pending)
        outage(True)
        run.tell_trainings("aaa", {"test/mean_acc": 0.5}, "ACC 0.500")
    assert client(root).get_run(trained.id).data.metrics == {}
    assert "mosaic-42-A: what is left is kept in .cache/tracking" in capsys.readouterr().err.splitlines()[-1]
    outage(False)
    with tracked_run("evaluate", "mosaic-42-B", TRACKING) as run:
        run.tell_trainings("aaa", {"test/mean_acc": 0.5}, "ACC 0.500")
    assert points(root, trained.id) == [0.5]


# --- resuming


def interrupted_training(run):
    for step in (1, 2, 3):
        run.log_metrics({"loss": 1.0 / step}, step)
    raise Terminated


def test_a_resumed_run_goes_on_where_it_was_and_repeats_nothing(root, capsys):
    on_gpu, on_cpu = {"compute": {"device": "cuda"}}, {"compute": {"device": "cpu"}, "lr": 0.1}
    with pytest.raises(Terminated), tracked_run("train", "mosaic-42", TRACKING, params=on_gpu) as first:
        interrupted_training(first)
    with tracked_run("train", "mosaic-42", TRACKING, params=on_cpu, run_id=first.id) as second:
        assert client(root).get_run(second.id).info.status == "RUNNING"
        for step in (3, 4):  # the checkpoint was written after round 2
            second.log_metrics({"loss": 1.0 / step}, step)

    (record,) = runs(root)
    assert [metric.step for metric in client(root).get_metric_history(first.id, "loss")] == [1, 2, 3, 4]
    assert record.data.params == {"compute.device": "cuda", "lr": "0.1"}  # MLflow's params are write-once
    assert record.info.status == "FINISHED"
    assert "error" not in record.data.tags
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("deleted", [True, False])
def test_resuming_a_run_that_is_gone_begins_a_new_one_and_says_so(root, capsys, deleted):
    run_id = "0" * 32
    if deleted:
        with tracked_run("train", "mosaic-42", TRACKING) as old:
            run_id = old.id
        client(root).delete_run(run_id)
    with tracked_run("train", "mosaic-42", TRACKING, run_id=run_id) as run:
        pass
    assert [record.info.run_id for record in runs(root)] == [run.id]
    assert capsys.readouterr().err.startswith(f"MLflow run {run_id} is gone")


# --- a store that fails in the middle


@pytest.fixture
def outage(monkeypatch):
    """Switch the store off and on again."""
    log = MlflowClient.log_batch
    state = {"off": False}

    def log_batch(*arguments, **keywords):
        if state["off"]:
            raise MlflowException("the server went away")
        return log(*arguments, **keywords)

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    return lambda off: state.update(off=off)


def test_an_outage_warns_once_and_its_metrics_arrive_later(root, outage, capsys):
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        wait_for(lambda: not run._sending.journal.pending)
        outage(True)
        run.log_metrics({"loss": 1.0}, step=1)
        run.log_metrics({"loss": 0.5}, step=2)
        wait_for(lambda: run._sending.error)
        outage(False)
        run.log_metrics({"loss": 0.2}, step=3)
    history = client(root).get_metric_history(run.id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1.0), (2, 0.5), (3, 0.2)]
    assert capsys.readouterr().err == (
        "warning: MLflow: could not log metrics: the server went away; the run goes on\n"
    )


def test_what_did_not_arrive_is_said_at_the_end_and_is_sent_by_the_next_run(root, outage, capsys):
    done = False
    with tracked_run("train", "mosaic-42", TRACKING) as run:
        wait_for(lambda: not run._sending.journal.pending)
        outage(True)
        run.log_artifact(root / "no_such_file")
        run.log_metrics({"loss": 1.0, "acc": 0.5}, step=1)
        done = True
    assert done
    first, lacking, kept = capsys.readouterr().err.splitlines()
    assert "could not log artifact" in first
    assert f"mosaic-42 in sqlite:///{root}/mlflow.db lacks artifact {root}/no_such_file" in lacking
    assert "mosaic-42: 2 points are kept in .cache/tracking" in kept

    outage(False)
    with tracked_run("train", "mosaic-43", TRACKING):
        pass
    assert client(root).get_run(run.id).info.status == "FINISHED"
    assert client(root).get_run(run.id).data.metrics == {"loss": 1.0, "acc": 0.5}
    assert all_journals(root) == []


def terminated_in_an_outage(run, outage):
    run.log_metrics({"loss": 1.0}, step=1)
    wait_for(lambda: not run._sending.journal.pending)
    outage(True)
    run.log_metrics({"loss": 0.5, "acc": 0.1}, step=2)
    raise Terminated


@pytest.mark.parametrize("lost", [False, True])
def test_a_resumed_training_gives_all_its_rounds_and_the_run_gets_those_that_it_lacks(root, outage, lost):
    """What arrived is passed over, per metric. What did not is in the journal, and given again should that be lost."""
    with pytest.raises(Terminated), tracked_run("train", "mosaic-42", TRACKING) as first:
        terminated_in_an_outage(first, outage)
    if lost:
        first._delivery.drop(first._sending)
    outage(False)
    with tracked_run("train", "mosaic-42", TRACKING, run_id=first.id) as second:
        for step, row in enumerate(({"loss": 1.0}, {"loss": 0.5, "acc": 0.1}), start=1):
            second.log_metrics(row, step)
    history = {key: client(root).get_metric_history(first.id, key) for key in ("loss", "acc")}
    assert [(metric.step, metric.value) for metric in history["loss"]] == [(1, 1.0), (2, 0.5)]
    assert [(metric.step, metric.value) for metric in history["acc"]] == [(2, 0.1)]


def all_of_a_run(root, run_id):
    """All that the store has of a run, but for when it was asked for."""
    record, store = client(root).get_run(run_id), client(root)
    history = {metric.key: store.get_metric_history(run_id, metric.key) for metric in record.to_proto().data.metrics}
    models = store.search_logged_models([record.info.experiment_id])
    return {
        "status": (record.info.status, record.info.start_time, record.info.end_time),
        "params": record.data.params,
        "tags": record.data.tags,
        "points": {key: [(m.step, m.timestamp, repr(m.value)) for m in metrics] for key, metrics in history.items()},
        "inputs": [(each.dataset.name, each.dataset.digest) for each in record.inputs.dataset_inputs],
        "outputs": [each.model_id for each in record.outputs.model_outputs],
        "models": [
            (each.model_id, each.name, [repr(metric.value) for metric in each.metrics or []]) for each in models
        ],
        "artifacts": sorted(str(each) for each in (root / "mlartifacts" / run_id).rglob("*")),
    }


def test_an_operation_that_is_done_again_changes_nothing(root):
    """Nobody knows of a request without an answer whether it was done."""
    with tracked_run("train", "trained", TRACKING) as trained:
        trained.log_model("trained", "aaa")
    store, journal = open_store("mosaic"), Journal.create(root, "", "mosaic", "run")
    (root / "report.html").write_text("<html>")
    target = Target(store, journal.header.session, root / "ids", journal.folder / "artifacts", "run")
    points = [["loss", 0.5, 7, 1, None, None], ["loss", math.nan, 8, 2, None, None]]
    measured = ["pathmnist/acc", 0.5, 9, None, "pathmnist", "d" * 32]
    states = []
    for operation in (
        Begin(None, "run", 5, {"user": "ada"}, "aaa"),
        Remember(journal.header.session),
        Params({"lr": "0.1"}),
        Tags({"stage": "evaluate"}),
        DatasetInput("pathmnist", "here", "d" * 32, "testing"),
        Points([*points, measured]),
        Description("Data", "text"),
        ExperimentLink("Report", "report.html"),
        MeansOfTests("aaa", {"test/mean_acc": 0.5}, "ACC", 10),
        Model("run", "bbb"),
        Artifact(str(root / "report.html"), "reports", journal.keep(root / "report.html")),
        Text("model: {}", "configs/mosaic.yaml"),
        Trainings([["mosaic", 42, "aaa"]]),
        End("FAILED", 11, "reason"),
    ):
        for _ in range(2):
            operation.apply(target)
            target.known_params = set()
            states.append([all_of_a_run(root, run_id) for run_id in (target.run_id, trained.id)])
        assert states[-1] == states[-2], operation
        assert len(runs(root)) == 2
    assert states[-1][0]["points"] == {
        "loss": [(1, 7, "0.5"), (2, 8, "nan")],
        "pathmnist/acc": [(0, 9, "0.5")],
    }
    assert states[-1][0]["status"] == ("FAILED", 5, 11)
    assert states[-1][0]["tags"]["mlflow.parentRunId"] == trained.id
    assert states[-1][1]["points"] == {"test/mean_acc": [(0, 10, "0.5")]}


KILLED = """
import os, signal
from mosaic_pipeline.params import Tracking
from mosaic_pipeline.tracking import tracked_run

with tracked_run("train", "mosaic-42", Tracking(experiment="mosaic", system_metrics=False)) as run:
    run.log_metrics({"loss": 1.0}, step=1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_whose_process_was_killed_is_ended_by_the_next(root):
    assert start(KILLED, root).wait() == -signal.SIGKILL
    assert [record.info.status for record in runs(root)] == ["RUNNING"]
    with tracked_run("train", "mosaic-43", TRACKING):
        pass
    killed, _ = runs(root)
    assert killed.info.status == "FAILED"
    assert killed.data.tags["error"] == "killed"
    assert killed.data.metrics == {"loss": 1.0}


# --- the revision


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository with a source file, dvc.lock and a report, all committed, as current directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("model.py", "dvc.lock", "reports/index.html"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("first")
    for variable in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(variable, "ada@example.org")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "First"]):
        subprocess.run(["git", *arguments], check=True)
    return subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_the_revision_is_that_of_the_last_commit_of_code_or_parameters(repository):
    assert git_revision() == repository
    Path("dvc.lock").write_text("other results")
    subprocess.run(["git", "commit", "-qam", "results"], check=True)
    assert git_revision() == repository
    Path("model.py").write_text("second")
    subprocess.run(["git", "commit", "-qam", "code"], check=True)
    assert git_revision() not in (repository, "unknown")


def test_the_revision_is_dirty_when_a_tracked_file_differs(repository):
    Path("model.py").write_text("second")
    assert git_revision() == f"{repository}-dirty"


def test_the_revision_is_dirty_when_a_file_differs_by_content_alone(repository):
    # What git status overlooks: the index goes by size and time.
    subprocess.run(["git", "config", "core.trustctime", "false"], check=True)
    for content in ("first", "other"):
        Path("model.py").write_text(content)
        os.utime("model.py", (1e9, 1e9))
        subprocess.run(["git", "status"], check=True, capture_output=True)
    assert git_revision() == f"{repository}-dirty"


def test_the_revision_is_not_dirty_for_what_the_pipeline_writes_itself(repository, monkeypatch):
    for name in ("dvc.lock", "reports/index.html", "untracked.py"):
        Path(name).write_text("second")
    assert git_revision() == repository
    monkeypatch.chdir("reports")
    assert git_revision() == repository


def test_asking_for_the_revision_leaves_what_is_staged_staged(repository):
    Path("model.py").write_text("second")
    subprocess.run(["git", "add", "model.py"], check=True)
    assert git_revision() == f"{repository}-dirty"
    staged = subprocess.run(["git", "diff", "--cached", "--name-only"], check=True, capture_output=True, text=True)
    assert staged.stdout == "model.py\n"


def test_the_revision_outside_git_is_unknown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert git_revision() == "unknown"
    monkeypatch.setenv("PATH", "")  # nor is git installed
    assert git_revision() == "unknown"
