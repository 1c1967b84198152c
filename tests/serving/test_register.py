"""Bundles in MLflow's registry: what is registered, when the alias moves, and what MLflow's own server answers."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from finished import run_stage
from mlflow import MlflowClient
from sent import nifti
from sent import test_images as images_of

from mosaic_pipeline.bundle import load_bundle
from mosaic_pipeline.bundle.load import Bundle
from mosaic_pipeline.bundle.manifest import Manifest
from mosaic_pipeline.bundle_files import MD5S
from mosaic_pipeline.tracking import register as registering
from mosaic_pipeline.tracking.register import register

VARIANTS = ("mosaic", "shared")


@pytest.fixture(scope="module")
def bundles(finished: Path, tmp_path_factory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    ended = run_stage(finished, f"mosaic bundle shared 42 -o {folder / 'shared-42'}")
    assert ended.status == 0, ended.stderr
    # What somebody left there, which is nobody else's.
    (folder / "shared-42/out.csv").write_text("patient\n")
    (folder / "shared-42/onnx").mkdir()
    (folder / "shared-42/onnx/A.onnx").write_bytes(b"graph")
    places = {"mosaic": finished / "bundles/mosaic-42", "shared": folder / "shared-42"}
    return {name: load_bundle(place, "cpu") for name, place in places.items()}


@pytest.fixture(scope="module")
def project(finished: Path, bundles, tmp_path_factory) -> Path:
    """A copy of the store that has the trainings' runs, with a version for each of two trainings."""
    folder = tmp_path_factory.mktemp("store")
    shutil.copy(finished / "mlflow.db", folder)
    for name in VARIANTS:
        ended = run_stage(folder, f"mosaic register {bundles[name].folder}")
        assert ended.status == 0, ended.stderr
        assert ended.stdout.startswith(f"models:/mosaic/{VARIANTS.index(name) + 1}: registered\nchampion")
    return folder


@pytest.fixture
def client(project: Path, monkeypatch) -> MlflowClient:
    monkeypatch.chdir(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'mlflow.db'}")
    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


@pytest.fixture
def loaded(client):
    import mlflow.pyfunc

    return [mlflow.pyfunc.load_model(f"models:/mosaic/{version}") for version in (1, 2)]


@pytest.fixture
def served(loaded) -> TestClient:
    from mlflow.pyfunc.scoring_server import init

    return TestClient(init(loaded[0]))


def rows(finished: Path, *datasets: str, files: bool = False) -> list[dict]:
    images = {name: images_of(finished, name)[0] for name in datasets}
    return [{"dataset": name, "image": nifti(each) if files else each.tolist()} for name, each in images.items()]


def test_a_version_says_of_what_it_is_and_leads_to_its_training(client, bundles):
    for number, name in enumerate(VARIANTS, 1):
        version, manifest = client.get_model_version("mosaic", str(number)), bundles[name].manifest
        said = {key: version.tags[key] for key in ("md5.model", "variant", "seed", "revision", "validation")}
        assert said == {
            "md5.model": manifest.provenance.md5["model"],
            "variant": name,
            "seed": "42",
            "revision": manifest.provenance.revision,
            "validation": repr(manifest.validation),
        }
        run = client.get_run(version.run_id)
        assert (run.info.run_name, run.data.tags["md5.model"]) == (f"{name}-42", manifest.provenance.md5["model"])


def test_evaluations_go_on_finding_the_entry_of_the_training(client, bundles):
    md5 = bundles["mosaic"].manifest.provenance.md5["model"]
    experiment = client.get_experiment_by_name("mosaic").experiment_id
    found = client.search_logged_models([experiment], f"tags.`md5.model` = '{md5}'")
    assert [model.tags.get("mlflow.model.isExternal") for model in found] == ["true"]


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_logged_is_the_bundle_and_neither_code_nor_what_lies_beside(client, bundles, name):
    folder = bundles[name].folder
    if name == "shared":
        assert (folder / "out.csv").is_file()
        assert (folder / "onnx").is_dir()
    version = client.get_model_version("mosaic", str(1 + VARIANTS.index(name)))
    logged = Path(
        client.get_logged_model(version.source.removeprefix("models:/")).artifact_location.removeprefix("file://")
    )
    files = {path.name: path.read_bytes() for path in (logged / "data" / folder.name).iterdir()}
    assert files == {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("out.csv", "onnx")}
    assert not [path for path in logged.rglob("*") if path.suffix in (".py", ".pkl", ".pickle", ".csv", ".onnx")]
    assert "loader_module: mosaic_pipeline.serving.pyfunc" in (logged / "MLmodel").read_text()


@pytest.mark.parametrize(("line", "says"), [("../mlflow.db", "names a file outside"), ("none.txt", "none.txt: ")])
def test_a_list_that_names_what_is_no_file_of_the_bundle_registers_nothing(project, bundles, tmp_path, line, says):
    folder = shutil.copytree(bundles["shared"].folder, tmp_path / "shared-42")
    with (folder / MD5S).open("a") as listed:
        listed.write(f"{'0' * 32}  {line}\n")
    refused = run_stage(project, f"mosaic register {folder} --name listed")
    assert refused.status == 2
    (error,) = [line for line in refused.stderr.splitlines() if not line.startswith("warning: ")]
    assert says in error
    assert "MLflow" not in error


def test_the_same_model_is_registered_once(client, bundles, project):
    before = len(client.search_logged_models([client.get_experiment_by_name("mosaic").experiment_id]))
    again = run_stage(project, f"mosaic register {bundles['mosaic'].folder}")
    assert again.status == 0, again.stderr
    assert again.stdout.startswith("models:/mosaic/1: is this model already")
    assert len(client.search_model_versions("name = 'mosaic'")) == 2
    assert len(client.search_logged_models([client.get_experiment_by_name("mosaic").experiment_id])) == before


def changed(bundle: Bundle, md5: str, **changes) -> Bundle:
    """Return the bundle as another training's, with its validation or its data."""
    provenance = bundle.manifest.provenance
    data = changes.pop("data", provenance.data)
    made = provenance.model_copy(update={"md5": provenance.md5 | {"model": md5 * 32}, "data": data})
    fields = {name: getattr(bundle.manifest, name) for name in Manifest.model_fields}
    manifest = Manifest(**(fields | {"provenance": made, **changes}))
    return Bundle(bundle.folder, manifest, bundle.model, bundle.device)


def test_the_champion_is_the_best_of_the_same_data_and_metric(client, bundles, monkeypatch):
    monkeypatch.setattr(registering, "_save", lambda path, bundle, files: path.mkdir())
    first = changed(bundles["mosaic"], "a", validation=0.5)
    other_data = first.manifest.provenance.data | {"breastmnist": "0" * 32}
    auc = first.config.model_copy(update={"train": first.config.train.model_copy(update={"monitor": "auc"})})
    steps = [
        (first, False, "1", "champion is version 1 now: the first"),
        (changed(first, "b", validation=0.5), False, "1", "champion stays version 1: validation acc_auc 0.5000, that"),
        (changed(first, "c", validation=0.6), False, "3", "champion is version 3 now, no more 1: validation acc_auc"),
        (changed(first, "d", validation=0.55), False, "3", "champion stays version 3"),
        (changed(first, "e", validation=0.9, data=other_data), False, "3", "was validated on other data; --champion"),
        (changed(first, "f", validation=0.9, config=auc.model_dump()), False, "3", "by another metric; --champion"),
        (changed(first, "0", validation=None), False, "3", "version 7 has no validation mean; --champion"),
        (changed(first, "d", validation=0.55), True, "4", "champion is version 4 now, no more 3: as was said"),
    ]
    for bundle, crown, champion, said in steps:
        assert said in register(bundle, "tried", "mosaic", crown=crown).champion
        assert str(client.get_model_version_by_alias("tried", "champion").version) == champion


def test_two_versions_in_one_process_answer_differently_and_each_as_its_bundle(loaded, bundles, finished):
    images = images_of(finished, "breastmnist")
    table = pd.DataFrame({"dataset": ["breastmnist"] * len(images), "image": list(images)})
    answers = [np.array(model.predict(table)["probabilities"].tolist()) for model in loaded]
    for answer, name in zip(answers, VARIANTS, strict=True):
        np.testing.assert_allclose(answer, bundles[name].predict(images, "breastmnist"), rtol=0, atol=1e-6)
    assert np.abs(answers[0] - answers[1]).max() > 1e-4


def test_mlflows_server_answers_each_form_of_request(served, finished, bundles):
    asked = rows(finished, "breastmnist", "nodulemnist3d", "retinamnist")
    columns = {name: [row[name] for row in asked] for name in ("dataset", "image")}
    split = {"columns": list(columns), "data": [list(row.values()) for row in asked]}
    for form in ({"dataframe_records": asked}, {"dataframe_split": split}, {"inputs": columns}):
        answered = served.post("/invocations", json=form)
        assert answered.status_code == 200, answered.text
        for row, answer in zip(asked, answered.json()["predictions"], strict=True):
            expected = bundles["mosaic"].predict(np.array([row["image"]], np.uint8), row["dataset"])[0]
            np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-6)
            assert answer["predicted"] == answer["classes"][expected.argmax()]
    volume = rows(finished, "nodulemnist3d")
    for instances in (volume * 2, rows(finished, "nodulemnist3d", files=True)):
        assert served.post("/invocations", json={"instances": instances}).status_code == 200


def test_rows_of_a_dataset_are_one_forward_pass(loaded, finished):
    model, passes = loaded[0]._model_impl, []
    model._bundle.model.register_forward_hook(lambda *call: passes.append((call[1][1], len(call[1][0]))))
    asked = rows(finished, "breastmnist", "nodulemnist3d")
    loaded[0].predict(pd.DataFrame([asked[0], asked[1], asked[0]]))
    assert sorted(passes) == [("breastmnist", 2), ("nodulemnist3d", 1)]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"dataset": "zq7319"}, "dataset: unknown to this model, which knows retinamnist"),
        ({"dataset": None}, "dataset: unknown to this model, which knows retinamnist"),
        ({"image": [[1, 2], [3]]}, "row 1, image: is ragged"),
        ({"image": [[1, 2.5]]}, "row 1, image: holds what is no whole number"),
        ({"image": [[256]]}, "row 1, image: holds values outside 0 to 255"),
        ({"image": [[73, 73]]}, "row 1, image: has the form [1, 2]; breastmnist has square grey images"),
        ({"image": "zq7319!"}, "row 1, image: is text, but no base64"),
        ({"image": None}, "row 1, image: must be a nested list"),
        ({"image": [[1]]}, "row 1, image: has 1 a side, row 0, image 28"),
    ],
)
def test_rows_that_cannot_be_answered_are_a_sentence_from_mlflows_server_too(served, finished, row, says):
    good = rows(finished, "breastmnist")[0]
    answered = served.post("/invocations", json={"dataframe_records": [good, good | row]})
    assert answered.status_code == 400
    assert answered.json()["message"].startswith(says)
    assert "stack_trace" not in answered.json()
    for part in ("zq7319", "73, 73", "Traceback", "Failed to predict"):
        assert part not in answered.text


def test_a_column_that_is_missing_is_named(served, finished):
    good = rows(finished, "breastmnist")[0]
    for name in good:
        answered = served.post("/invocations", json={"dataframe_records": [{name: good[name]}]})
        (missing,) = set(good) - {name}
        assert (answered.status_code, answered.json()["message"].partition(":")[0]) == (400, missing)


def test_a_defect_is_a_500_from_mlflows_server_too(served, loaded, finished, monkeypatch):
    def broken(self, *arguments, **more):
        raise ValueError("zq7319")

    monkeypatch.setattr(Bundle, "predict", broken)
    answered = served.post("/invocations", json={"dataframe_records": rows(finished, "breastmnist")})
    assert answered.status_code == 500
    assert answered.json()["message"] == "a defect of the model, which the server's log names"
    assert "zq7319" not in answered.text
    assert "stack_trace" not in answered.json()


def test_the_example_that_comes_with_it_is_answered(client, served):
    version = client.get_model_version("mosaic", "1")
    folder = Path(
        client.get_logged_model(version.source.removeprefix("models:/")).artifact_location.removeprefix("file://")
    )
    example = (folder / "serving_input_example.json").read_text()
    answered = served.post("/invocations", content=example, headers={"content-type": "application/json"})
    assert answered.status_code == 200, answered.text


def test_what_cannot_be_registered_is_one_line(project, bundles, tmp_path):
    for command, says in (
        (f"mosaic register {tmp_path}", "no bundle, config.json is not in it"),
        (f"mosaic register {bundles['mosaic'].folder} --name a/b", "'a/b' is no name of a model"),
    ):
        refused = run_stage(project, command)
        assert (refused.status, refused.stderr.count("\n")) == (2, 1)
        assert says in refused.stderr
    (tmp_path / "mlflow.db").write_text("no database")
    refused = run_stage(tmp_path, f"mosaic register {bundles['mosaic'].folder}")
    assert refused.status == 2
    assert "MLflow store" in refused.stderr
