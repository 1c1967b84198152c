"""Artifacts follow a checkout that was moved or copied, by real small stores."""

import shutil
import sqlite3
from pathlib import Path
from urllib.parse import unquote

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from mosaic_pipeline.params import Tracking
from mosaic_pipeline.tracking import tracked_run

TRACKING = Tracking(experiment="mosaic", system_metrics=False)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """A created database without our experiment: creating one takes a second, copying it none."""
    folder = tmp_path_factory.mktemp("template")
    MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def checkout(tmp_path, monkeypatch, empty_database):
    """A checkout in which one run logged a model and an artifact; what the run is called is in `run_id`."""
    for variable in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE"):
        monkeypatch.delenv(variable, raising=False)
    root = tmp_path / "before" / "mosaic"
    root.mkdir(parents=True)
    (root / "dvc.yaml").touch()
    (root / "report.html").write_text("old")
    shutil.copy(empty_database, root / "mlflow.db")
    monkeypatch.chdir(root)
    with tracked_run("report", "old", TRACKING) as run:
        run.log_artifact(Path("report.html"))
        run.log_model("mosaic-42", "aaa")
    (root / "run_id").write_text(run.id)
    return root


def log(root, monkeypatch, content="new", **arguments):
    """Log an artifact in a checkout as a stage does; return the run's id."""
    utils._artifact_repos_cache.clear()  # a stage is a process of its own
    monkeypatch.chdir(root)
    Path("report.html").write_text(content)
    with tracked_run("report", "new", TRACKING, **arguments) as run:
        run.log_artifact(Path("report.html"))
    return run.id


def read(root, run_id):
    """The report of a run, found by what the checkout's database says."""
    place = MlflowClient(f"sqlite:///{root}/mlflow.db").get_run(run_id).info.artifact_uri
    return (path_of(place) / "report.html").read_text()


def path_of(place):
    return Path(unquote(place.removeprefix("file://")))


def places(database):
    """All places in a database: the experiment's, those of runs, those of models."""
    with sqlite3.connect(database) as connection:
        return [
            place
            for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri"))
            for (place,) in connection.execute(f"SELECT {column} FROM {table} WHERE {column} LIKE '%mlartifacts%'")
        ] + [place for (place,) in connection.execute("SELECT artifact_location FROM logged_models")]


def test_a_moved_checkout_writes_where_it_is_and_reads_what_it_wrote_before(checkout, tmp_path, monkeypatch, capsys):
    run_id, after = (checkout / "run_id").read_text(), tmp_path / "after, 100 %"
    shutil.move(checkout, after)
    new = log(after, monkeypatch)
    assert not checkout.exists()
    assert (read(after, run_id), read(after, new)) == ("old", "new")
    assert [path_of(place).is_relative_to(after) for place in places(after / "mlflow.db")] == [True] * 4
    line = f"MLflow: this checkout was in {checkout}, artifacts now go to {after}/mlartifacts\n"
    assert capsys.readouterr().err == line
    log(after, monkeypatch)
    assert capsys.readouterr().err == ""


def test_a_run_that_is_resumed_after_the_move_goes_on_in_the_new_place(checkout, tmp_path, monkeypatch):
    run_id, after = (checkout / "run_id").read_text(), tmp_path / "after"
    shutil.move(checkout, after)
    assert log(after, monkeypatch, "resumed", run_id=run_id) == run_id
    assert read(after, run_id) == "resumed"
    assert not checkout.exists()


def test_a_queued_experiment_of_a_moved_checkout_writes_to_the_main_repository(checkout, tmp_path, monkeypatch):
    after = tmp_path / "after"
    shutil.move(checkout, after)
    queued = tmp_path / "queued"
    queued.mkdir()
    monkeypatch.setenv("DVC_ROOT", str(after))
    assert read(after, log(queued, monkeypatch)) == "new"
    assert list((after / "mlartifacts").iterdir())
    assert not checkout.exists()
    assert not (queued / "mlartifacts").exists()


def test_a_copy_writes_to_its_own_folder_and_leaves_the_original_alone(checkout, tmp_path, monkeypatch):
    run_id, copy = (checkout / "run_id").read_text(), tmp_path / "copy"
    shutil.copytree(checkout, copy)
    before, files = places(checkout / "mlflow.db"), sorted((checkout / "mlartifacts").rglob("*"))
    new = log(copy, monkeypatch)
    assert (read(copy, run_id), read(copy, new)) == ("old", "new")
    assert places(checkout / "mlflow.db") == before
    assert sorted((checkout / "mlartifacts").rglob("*")) == files


def test_what_was_not_copied_is_read_where_it_is(checkout, tmp_path, monkeypatch, capsys):
    run_id, copy = (checkout / "run_id").read_text(), tmp_path / "copy"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns("mlartifacts"))
    for _ in range(2):
        new = log(copy, monkeypatch)
        assert (read(copy, run_id), read(copy, new)) == ("old", "new")
    assert (copy / "mlartifacts" / new).exists()
    assert capsys.readouterr().err == (
        f"MLflow: this checkout was in {checkout}, artifacts now go to {copy}/mlartifacts; those that are only in "
        f"{checkout}/mlartifacts stay there\n"
    )


@pytest.mark.parametrize("shared_by", ["address", "link"])
def test_a_database_that_checkouts_share_follows_none_of_them(checkout, tmp_path, monkeypatch, capsys, shared_by):
    other = tmp_path / "other"
    (other / "mlartifacts").mkdir(parents=True)
    if shared_by == "link":
        (other / "mlflow.db").symlink_to(checkout / "mlflow.db")
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{checkout}/mlflow.db")
        shutil.copy(checkout / "mlflow.db", other)  # its own, which it does not use
    before = places(checkout / "mlflow.db")
    run_id = log(other, monkeypatch)
    assert read(checkout, run_id) == "new"
    assert places(checkout / "mlflow.db")[: len(before) - 2] == before[:-2]
    assert capsys.readouterr().err == ""


def relocate(root, place):
    with sqlite3.connect(root / "mlflow.db") as connection:
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE name = 'mosaic'", (place,))


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_that_somebody_chose_is_left_alone_and_named(checkout, tmp_path, monkeypatch, capsys, exists):
    chosen = tmp_path / "disk" / "mlartifacts"
    chosen.parent.mkdir()
    if exists:
        chosen.mkdir()
    else:  # the disk is not mounted
        shutil.rmtree(checkout / "mlartifacts")
    relocate(checkout, chosen.as_uri())
    log(checkout, monkeypatch)
    assert places(checkout / "mlflow.db")[0] == chosen.as_uri()
    assert capsys.readouterr().err == (
        f"warning: MLflow: artifacts go to {chosen}, outside this checkout; to have them here, move what is there into "
        f"{checkout}/mlartifacts\n"
    )


def test_moving_what_an_old_place_got_meanwhile_is_the_way_out_that_the_warning_says(checkout, tmp_path, monkeypatch):
    stray = tmp_path / "stray" / "mlartifacts"
    stray.parent.mkdir()
    relocate(checkout, stray.as_uri())
    (stray / "x").mkdir(parents=True)
    run_id = log(checkout, monkeypatch)
    for folder in stray.iterdir():
        shutil.move(folder, checkout / "mlartifacts")
    stray.rmdir()
    new = log(checkout, monkeypatch)
    assert (read(checkout, run_id), read(checkout, new)) == ("new", "new")
    assert not stray.exists()


def test_a_place_that_is_no_folder_of_this_machine_is_left_alone(checkout, monkeypatch, capsys):
    relocate(checkout, "s3://bucket/mlartifacts")
    with tracked_run("report", "new", TRACKING):
        pass
    assert places(checkout / "mlflow.db")[0] == "s3://bucket/mlartifacts"
    assert capsys.readouterr().err == ""
