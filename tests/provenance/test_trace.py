import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from project import ACC, AGAIN, DEVICE, FIRST, LOW, MODEL, REPORT, TABLE, TEST, WIDER, git, item, md5, stages, write
from rocrate.rocrate import ROCrate

from mosaic_pipeline.commands import trace
from mosaic_pipeline.provenance.snapshot import Snapshot

ROW = f"{TABLE}:2"  # mosaic, 42, pathmnist


def test_a_row_leads_to_evaluation_model_configuration_data_weights_code_runs_and_device(project, traced):
    found = traced(ROW)
    assert (found.status, found.tree["state"]) == (0, "verified")
    assert found.tree["facts"]["acc"] == str(ACC)
    for name in (
        *(TABLE, "evaluation/mosaic/42/A.json", "evaluation/mosaic/42/A.npz", MODEL, "runs/mosaic/42/train.json"),
        *("configs/mosaic.yaml", "candidates/mosaic.yaml", "params.yaml", "data/cached/training", "data/cached/test"),
        *("data/cached/training/breastmnist", "data/cached/test/pathmnist", "data/raw/breastmnist.npz"),
        *("weights/backbone.safetensors", "code/train.txt", "code/evaluate.txt", "code/cache.txt"),
        git(project, "rev-parse", "HEAD~1"),
    ):
        assert found.node(name).get("state") == "verified", name
    assert found.node(DEVICE, "device")
    assert found.node("generated (phantom)", "source")
    assert found.node("vit.npz", "source") or "secret" not in json.dumps(found.tree)
    assert not found.node("evaluation/mosaic/42/B.json")
    assert not found.node("data/cached/test/breastmnist")  # another dataset's
    assert str(project) not in json.dumps(found.tree)


def test_an_evaluation_is_told_of_its_model_alone_and_data_once(project, traced):
    found = traced("evaluation/mosaic/42/A.json")
    names = [node["name"] for node in found.nodes if not node.get("repeated") and node["kind"] != "source"]
    assert len(names) == len(set(names))
    (model,) = [node for node in found.nodes if node["kind"] == "model"]
    assert {"configs/mosaic.yaml", "weights/backbone.safetensors"} <= {part["name"] for part in model["parts"]}


def test_the_source_has_the_address_and_md5_that_medmnist_publishes(project, traced):
    from medmnist import INFO

    found = traced("data/raw/retinamnist.npz").node("https://", "source")
    assert (found["facts"]["url"], found["facts"]["official md5"]) == (
        INFO["retinamnist"]["url"],
        INFO["retinamnist"]["MD5"],
    )
    assert found["state"] == "recorded"  # the file is verified, and another than that
    assert "another than the one that MedMNIST publishes" in found["why"]


def test_passwords_of_addresses_are_not_told(project, traced):
    found = traced("weights/backbone.safetensors")
    assert found.node("https://host/vit.npz", "source")
    assert "secret" not in json.dumps(found.tree)


@pytest.mark.parametrize(
    "name",
    [
        *(TABLE, "evaluation/mosaic/42/A.npz", "evaluation/mosaic/42/A.json", MODEL, "runs/mosaic/42/history.csv"),
        *("configs/mosaic.yaml", "data/cached/training/breastmnist/images.npy", "data/cached/test/pathmnist/meta.json"),
        *("data/raw/pathmnist.npz", "weights/backbone.safetensors", "candidates/mosaic.yaml", "code/train.txt"),
        "declared/pathmnist/source.yaml",
    ],
)
def test_a_flipped_byte_is_found(project, traced, name):
    data = bytearray((project / name).read_bytes())
    data[len(data) // 2] ^= 1
    (project / name).write_bytes(data)
    if name == "code/train.txt":  # else the code that is here stands for the list
        (project / "stages/train.py").write_text("other = 1\n")
    found = traced(ROW)
    assert found.status == 1
    wrong = [node["name"] for node in found.nodes if node["state"] == "differs"]
    assert any(name.startswith(each) or each.startswith(TABLE) for each in wrong), wrong
    assert any(line.startswith("differs ") for line in found.lines)


def test_a_number_that_the_evaluation_does_not_have_is_found(project, traced, tmp_path):
    mailed = tmp_path / "mailed.csv"
    mailed.write_text((project / TABLE).read_text())
    assert traced(f"{mailed}:2").status == 0  # outside, and the same numbers
    mailed.write_text((project / TABLE).read_text().replace(str(ACC), "0.95"))
    found = traced(f"{mailed}:2")
    assert (found.status, found.tree["state"]) == (1, "differs")
    assert found.tree["why"] == f"acc is 0.95 in the row, {ACC} in the evaluation"
    assert str(tmp_path) not in json.dumps(found.tree)


FIRST_ROW = {"specialist": "A", "source": "phantom", "official": "no", "n": "96", "acc": str(ACC), "acc_low": str(LOW)}


def mailed(project: Path, tmp_path: Path, **changed: str) -> str:
    """The table in another folder, with other cells in its first row: that row."""
    header, first, *others = (project / TABLE).read_text().splitlines()
    cells = dict(zip(header.split(","), first.split(","), strict=True)) | changed
    (tmp_path / "mailed.csv").write_text("\n".join([header, ",".join(cells.values()), *others]) + "\n")
    return f"{tmp_path / 'mailed.csv'}:2"


@pytest.mark.parametrize(
    ("column", "forged", "where"),
    [
        ("source", "zenodo", "the evaluation"),
        ("official", "yes", "the evaluation"),
        ("specialist", "B", "the evaluation"),
        ("n", "97", "the evaluation"),
        ("acc", "abc", "the evaluation"),
        ("acc", "nan", "the evaluation"),
        ("acc_low", "0.4", TABLE),
    ],
)
def test_a_forged_cell_is_found(project, traced, tmp_path, column, forged, where):
    found = traced(mailed(project, tmp_path, **{column: forged}))
    assert (found.status, found.tree["state"]) == (1, "differs")
    assert found.tree["why"] == f"{column} is {forged} in the row, {FIRST_ROW[column]} in {where}"


def test_a_row_is_verified_only_if_every_cell_was_compared(project, traced, tmp_path):
    row = mailed(project, tmp_path)
    found = traced(row)
    assert (found.tree["state"], found.tree["why"]) == (
        "verified",
        f"as in the evaluation; acc_low, revision as in {TABLE}",
    )
    again = traced(mailed(project, tmp_path, revision=git(project, "rev-parse", "HEAD")))
    assert (again.tree["state"], again.tree["why"]) == (
        "recorded",
        f"as in the evaluation; acc_low as in {TABLE}; not compared: revision",
    )
    mailed(project, tmp_path)
    (project / TABLE).unlink()
    alone = traced(row)
    assert (alone.status, alone.tree["state"]) == (0, "recorded")
    assert alone.tree["why"] == "as in the evaluation; not compared: acc_low, revision"


@pytest.mark.parametrize("cut", [2, 31])
def test_an_md5_of_a_record_is_whole_or_none(project, traced, tmp_path, cut):
    beginning = md5(b"model")[:cut]
    found = traced(mailed(project, tmp_path, md5_model=beginning))
    assert found.tree["state"] == "recorded"
    assert not found.node(MODEL)
    node = found.node(beginning, "model")
    assert (node["state"], node["why"]) == ("missing", "no md5: that has 32 digits from 0 to f")
    bundled = traced(bundle(project, tmp_path / "given", beginning))
    assert not bundled.node(MODEL)
    assert bundled.node(beginning, "model")["state"] == "missing"


def test_a_row_of_a_case_is_held_against_its_organ(project, traced, tmp_path):
    organ = {"organ": "liver", "status": "hit", "dsc": 0.5, "nsd": None}
    case = {"case": "c1", "patient": "p1", "block": 4, "organs": [organ], "ceiling": {"liver": 1.0}}
    said = {"variant": "dense", "seed": 42, "datasets": {"flare22": {"source": "own", "cases": [case]}}}
    place, table = "segmentation/results/dense/42/evaluation.json", "reports/segmentation/results.csv"
    header = "variant,seed,dataset,source,case,patient,organ,status,dsc,dsc_ceiling"
    write(project, {place: json.dumps(said).encode()})
    write(project, {table: f'{header}\ndense,42,flare22,"own, by slices",c1,p1,liver,hit,0.5,1.0\n'.encode()})
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    lock["stages"]["seg_evaluate@dense-42"] = {"cmd": "python", "outs": [item(project, place)]}
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    found = traced(f"{table}:2")
    assert (found.tree["state"], found.tree["why"]) == ("verified", "as in the evaluation")
    for one, other in (("p1", "p2"), ("hit", "absent"), ("own, by slices", "own"), (",1.0", ",0.9")):
        forged = tmp_path / "forged.csv"
        forged.write_text((project / table).read_text().replace(one, other))
        assert traced(f"{forged}:2").tree["state"] == "differs", other


def test_a_row_of_a_model_that_was_replaced_leads_to_that_model(project, traced, tmp_path):
    mailed = tmp_path / "mailed.csv"
    mailed.write_text((project / TABLE).read_text())
    old = md5(b"model")
    retrain(project, b"newer")
    found = traced(f"{mailed}:2")
    assert found.tree["why"] == "no evaluation of its model is recorded here"
    assert found.node(MODEL)["md5"] == old
    assert found.node(FIRST)  # the run that trained it


def retrain(project: Path, model: bytes) -> None:
    """Let another training take the place of the one that is here, and commit it."""
    of = {"model": md5(model)}
    write(project, {MODEL: model, "runs/mosaic/42/train.json": json.dumps({"md5": of}).encode()})
    (project / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages(project)}))
    git(project, "commit", "-qam", "retrained")


def test_without_data_what_is_recorded_is_told_and_nothing_is_wrong(project, traced):
    shutil.rmtree(project / "data")
    (project / MODEL).unlink()
    found = traced(ROW)
    assert found.status == 0
    for name in ("data/raw/pathmnist.npz", "data/cached/training/pathmnist", "data/cached/training", MODEL):
        node = found.node(name)
        assert (node["state"], node["why"]) == ("recorded", "its bytes are not here")
        assert len(node["md5"].removesuffix(".dir")) == 32


def test_a_fresh_clone_says_what_is_missing(project, traced, tmp_path, monkeypatch):
    git(tmp_path, "clone", "-q", str(project), "clone")
    monkeypatch.chdir(tmp_path / "clone")
    found = traced("mosaic/42/pathmnist")
    assert found.status == 0
    assert found.states("model") == found.states("raw file") == found.states("weights") == {"recorded"}
    assert found.states("code") == {"verified"}  # of the modules that git has
    missing = [node for node in found.nodes if node["state"] == "missing"]
    assert {node["kind"] for node in missing} == {"MLflow run", "code revision", "device"}
    assert found.node("tags.", "MLflow run")["why"] == "there is no mlflow.db here"
    assert md5(b"model") in found.node("tags.", "MLflow run")["name"]  # what to search for, where the runs are
    assert found.node(git(project, "rev-parse", "HEAD~1"))["state"] == "verified"


def test_a_file_in_a_folder_and_the_whole_checkout_are_traced(project, traced):
    name = "data/cached/test/pathmnist/meta.json"
    assert traced(name).tree["state"] == "verified"
    (project / "data/cached/test/pathmnist/images.npy").write_bytes(b"other")
    found = traced(name)
    assert (found.status, found.tree["state"]) == (1, "recorded")  # nothing says its own md5
    (project / name).unlink()
    assert traced(name).tree["state"] == "missing"
    whole = traced(".")
    assert whole.tree["kind"] == "workspace"
    assert whole.node("evaluation/mosaic/42/B.json")["state"] == "verified"
    assert {part["name"] for part in traced("evaluation").tree["parts"]} >= {"evaluation/mosaic/42/B.json"}


def test_parameters_that_were_changed_since_are_found_in_the_commit_that_has_them(project, traced):
    first = git(project, "rev-parse", "HEAD~1")
    (project / "params.yaml").write_text("seeds: [1]\n")
    git(project, "commit", "-qam", "other seeds")
    node = traced(MODEL).node("params.yaml")
    assert (node["state"], node["facts"]["commit"]) == ("verified", first)
    retrain(project, b"newer")  # with parameters that were never committed
    (project / "params.yaml").write_text("seeds: [2]\n")
    (project / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages(project)}))
    (project / "params.yaml").write_text("seeds: [1]\n")
    found = traced(MODEL)
    assert (found.status, found.node("params.yaml")["state"]) == (0, "recorded")


def test_code_that_was_not_committed_is_dirty_and_not_the_one_that_ran(project, traced):
    assert "dirty" not in json.dumps(traced("HEAD").tree)
    with open(project / "stages/train.py", "a") as file:
        file.write("more = 1\n")
    found = traced(MODEL)
    assert found.status == 0
    code = found.node("code/train.txt")
    assert (code["state"], code["why"]) == ("recorded", "dirty, the code here is another: stages/train.py")
    assert found.node("code/weights.txt")["state"] == "verified"
    workspace = traced("stages/train.py")
    assert (workspace.tree["state"], workspace.tree["why"]) == ("recorded", "dirty: it was changed since")
    node = workspace.node("", "code of the workspace")
    assert node["name"].endswith("-dirty")
    assert node["why"] == "dirty: not committed are stages/train.py"
    git(project, "commit", "-qam", "more")
    assert traced(MODEL).node("code/train.txt")["why"] == "the code here is another: stages/train.py"


@pytest.mark.parametrize("damaged", [False, True])
def test_a_model_of_dvcs_run_cache_finds_its_bytes_and_its_original_run(project, traced, damaged):
    cache, old = project / ".dvc/cache", item(project, MODEL)
    entry = yaml.safe_load((project / "dvc.lock").read_text())["stages"]["train@mosaic-42"]
    write(
        cache, {"runs/ab/abc/def": yaml.safe_dump(entry).encode(), "runs/ab/abc/half": b"cmd: [" + old["md5"].encode()}
    )
    write(cache, {f"files/md5/{old['md5'][:2]}/{old['md5'][2:]}": b"other" if damaged else b"model"})
    retrain(project, b"newer")
    found = traced(old["md5"])
    assert found.tree["name"] == MODEL
    assert (found.status, found.tree["state"]) == ((1, "differs") if damaged else (0, "verified"))
    assert found.tree["why"].startswith("DVC's cache has other bytes" if damaged else "in DVC's cache")
    runs = [node["name"] for node in found.nodes if node["kind"] == "MLflow run"]
    assert runs == [FIRST, AGAIN]  # the oldest made it
    assert found.node(DEVICE, "device")
    assert found.node("configs/mosaic.yaml")["state"] == "verified"


def test_the_cache_of_dvc_is_where_its_configuration_says(project, traced, tmp_path):
    old = item(project, MODEL)["md5"]
    write(tmp_path / "elsewhere", {f"files/md5/{old[:2]}/{old[2:]}": b"model"})
    (project / ".dvc/config.local").write_text(
        f"[cache]\n    dir = {tmp_path}/elsewhere\n['remote \"x\"']\n    url = y\n"
    )
    (project / MODEL).unlink()
    found = traced(MODEL)
    assert (found.tree["state"], found.tree["why"]) == ("verified", "in DVC's cache")


def test_a_folder_of_dvcs_cache_is_verified_file_by_file(project, traced):
    name = "data/cached/training/pathmnist"
    files = {each: (project / name / each).read_bytes() for each in ("images.npy", "meta.json")}
    listed = json.dumps([{"md5": md5(data), "relpath": each} for each, data in files.items()]).encode()
    kept = {f"{md5(data)[:2]}/{md5(data)[2:]}": data for data in files.values()}
    write(project / ".dvc/cache/files/md5", kept | {f"{md5(listed)[:2]}/{md5(listed)[2:]}.dir": listed})
    shutil.rmtree(project / name)
    assert traced(name).tree["why"].startswith("in DVC's cache")
    (project / ".dvc/cache/files/md5" / next(iter(kept))).write_bytes(b"other")
    found = traced(name)
    assert found.status == 1
    assert found.tree["why"] == f"DVC's cache has other bytes of {name}/images.npy"


def test_an_md5_and_its_beginning_a_file_and_a_training_are_the_same_model(project, traced):
    whole = item(project, MODEL)["md5"]
    trees = [traced(thing).tree for thing in (whole, whole[:8], MODEL, project / MODEL, "mosaic/42")]
    assert all(tree == trees[0] for tree in trees)
    assert trees[0]["name"] == MODEL


def test_a_file_from_elsewhere_is_known_by_its_bytes(project, traced, refused, tmp_path):
    (tmp_path / "copy.bin").write_bytes(b"model")
    found = traced(tmp_path / "copy.bin")
    assert (found.tree["name"], found.tree["parts"][0]["name"]) == ("copy.bin", MODEL)
    (tmp_path / "copy.bin").write_bytes(b"nobody's")
    said = refused("trace", tmp_path / "copy.bin")
    assert "outside of this checkout, and nothing here is recorded with its md5" in said


def test_what_several_files_may_be_is_asked_for(project, refused):
    write(project, {"evaluation/mosaic/42/B.npz": (project / "evaluation/mosaic/42/A.npz").read_bytes()})
    (project / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages(project)}))
    said = refused("trace", item(project, "evaluation/mosaic/42/A.npz")["md5"][:7])
    assert "evaluation/mosaic/42/A.npz" in said
    assert "evaluation/mosaic/42/B.npz" in said
    assert "name one of them" in said


@pytest.mark.parametrize(
    ("thing", "part"),
    [
        ("nonsense", "nothing here goes by that name; what can be traced is a file, an md5"),
        ("../nowhere.bin", "nothing here goes by that name"),
        ("--", "the following arguments are required: thing"),
        ("0123456789abcdef", "nothing here goes by that name"),
        ("mosaic/43", "nothing here goes by that name"),
        ("mosaic/42/octmnist", "nothing here goes by that name"),
        (f"{TABLE}:1", "line 1 is no row of it; those are 2 to 4"),
        (f"{TABLE}:99", "line 99 is no row of it"),
        ("models:/mosaic/4", "models:/mosaic/4: no such registered model; registered are: mosaic"),
        ("models:/mosaic/2", "models:/mosaic/2: no such registered model"),  # deleted
        (f"models:/mosaic/{10**20 - 1}", "no such registered model; registered are: mosaic"),
        ("mosaic@nobody", "models:/mosaic@nobody: no such registered model"),
        ("dvc.yaml", "nothing here goes by that name"),
    ],
)
def test_what_is_not_there_is_one_line(project, refused, thing, part):
    said = refused("trace", thing)
    assert part in said
    assert len(said.splitlines()) == 1


def test_a_table_that_is_no_results_is_one_line(project, refused):
    (project / "other.csv").write_text("a,b\n1,2\n")
    assert "no column variant, seed, dataset" in refused("trace", "other.csv:2")


def test_without_a_dvc_lock_nothing_is_recorded(project, refused):
    (project / "dvc.lock").unlink()
    assert refused("trace", MODEL) == "dvc.lock: no such file, so nothing is recorded; `dvc repro` makes it"


@pytest.mark.parametrize("text", ["stages: [1]", "stages: {a: {outs: 3}}", "a: [", "stages: {a: {outs: [{md5: x}]}}"])
def test_a_damaged_dvc_lock_is_one_line(project, refused, text):
    (project / "dvc.lock").write_text(text)
    assert refused("trace", MODEL).startswith("dvc.lock: not as DVC writes it (")


def test_runs_and_registered_models_lead_to_the_model(project, traced):
    trained = traced(FIRST)
    assert trained.tree["facts"]["device"] == DEVICE
    assert trained.node(MODEL)["state"] == "verified"
    assert traced(TEST).node(MODEL)
    assert traced(REPORT).node(TABLE, "report")["state"] == "verified"
    for thing in ("models:/mosaic/3", "models:/mosaic@champion", "mosaic@champion"):
        found = traced(thing)
        assert found.tree["kind"] == "registered model"
        assert found.node(FIRST)
        assert found.node(MODEL)["state"] == "verified"
    assert traced("c" * 32).tree["state"] == "recorded"  # a model that only a run knows


def test_runs_on_a_server_are_not_read_and_its_password_is_not_told(project, traced, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@server:5000")
    found = traced(MODEL).node("tags.", "MLflow run")
    assert found["why"] == "MLflow's runs are in http://server:5000, which is not read"


def test_a_database_that_is_none_is_said_and_left_alone(project, traced):
    (project / "mlflow.db").write_text("no database")
    assert "mlflow.db cannot be read" in traced(MODEL).node("tags.", "MLflow run")["why"]
    assert (project / "mlflow.db").read_text() == "no database"


def test_an_experiment_and_a_revision_are_traced_as_they_were_committed(project, traced, refused):
    before = git(project, "rev-parse", "HEAD")
    retrain(project, b"wider")
    git(project, "update-ref", WIDER, git(project, "rev-parse", "HEAD"))
    git(project, "update-ref", "refs/exps/exec/EXEC_HEAD", "HEAD")  # DVC's own
    git(project, "reset", "-q", "--hard", before)
    write(project, {MODEL: b"model"})  # what `dvc checkout` brings back
    wider = traced("wider")
    assert wider.tree["kind"] == "DVC experiment"
    assert wider.status == 0  # that the workspace has another model is no damage
    model = wider.node(MODEL)
    assert (model["md5"], model["state"]) == (md5(b"wider"), "recorded")
    assert wider.node("configs/mosaic.yaml")["state"] == "verified"  # the same in both
    now = traced(before[:10])
    assert now.tree["kind"] == "git revision"
    assert now.node(MODEL)["state"] == "verified"
    assert "no dvc.lock" not in json.dumps(now.tree)
    assert "nothing here goes by that name" in refused("trace", "EXEC_HEAD")
    first = git(project, "rev-parse", f"{before}~1")
    assert refused("trace", first) == (
        f"dvc.lock of {first[:10]}: no such file, so nothing is recorded; `dvc repro` makes it"
    )


def bundle(project: Path, folder: Path, model: str) -> Path:
    of = {"revision": git(project, "rev-parse", "HEAD~1"), "md5": {"model": model}, "data": {}, "weights": {}}
    config = json.dumps({"variant": "mosaic", "seed": 42, "provenance": of}).encode()
    files = {"config.json": config, "model.safetensors": b"deployed", "README.md": b"# The card\n"}
    listed = "".join(f"{md5(data)}  {name}\n" for name, data in files.items())
    write(folder, files | {"md5sums.txt": listed.encode()})
    return folder


def test_a_bundle_is_its_files_and_the_model_that_it_is_of(project, traced, tmp_path):
    found = traced(bundle(project, tmp_path / "given", md5(b"model")))
    assert (found.status, found.tree["kind"], found.tree["name"]) == (0, "bundle", "given")
    assert found.node(MODEL)["state"] == found.node("model.safetensors")["state"] == "verified"
    assert found.node(git(project, "rev-parse", "HEAD~1"))["state"] == "verified"
    (tmp_path / "given/model.safetensors").write_bytes(b"depl0yed")
    assert traced(tmp_path / "given").status == 1


def test_a_card_of_a_bundle_may_be_edited(project, traced, tmp_path):
    folder = bundle(project, tmp_path / "given", md5(b"model"))
    (folder / "README.md").write_text("# The card, with a word of mine\n")
    found = traced(folder)
    assert (found.status, found.node("README.md")["state"]) == (0, "recorded")
    assert found.node("README.md")["why"] == "it was edited, as a card may be"


def test_how_to_mend_a_bundle_is_not_how_to_mend_a_checkout(project, traced, tmp_path, monkeypatch, capsys):
    folder = bundle(project, tmp_path / "given", md5(b"model"))
    (folder / "model.safetensors").write_bytes(b"depl0yed")
    assert mend_of(folder, monkeypatch, capsys) == (
        "1 not as recorded; get the bundle again from where it was made (`mosaic bundle`)"
    )
    (project / "configs/mosaic.yaml").write_text("edited")
    mend = mend_of(folder, monkeypatch, capsys)
    assert "get the bundle again" in mend
    assert "`dvc checkout`" in mend


def mend_of(thing: Path, monkeypatch, capsys) -> str:
    monkeypatch.setattr(sys, "argv", ["mosaic trace", str(thing)])
    with pytest.raises(SystemExit):
        trace.main()
    return capsys.readouterr().err.strip()


def test_what_a_commit_has_in_place_of_what_is_recorded_is_not_taken_for_it(project):
    head = git(project, "rev-parse", "HEAD")
    then = Snapshot(project, head)
    recorded = then.lock.stages["report"].out(TABLE)
    text = (project / TABLE).read_bytes()
    (project / TABLE).unlink()
    assert then.read(recorded) == text
    assert then.read(replace(recorded, md5="0" * 32)) is None


def test_train_json_of_another_model_is_found(project, traced):
    write(project, {"runs/mosaic/42/train.json": json.dumps({"md5": {"model": "0" * 32}}).encode()})
    (project / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages(project)}))
    found = traced(MODEL)
    assert (found.status, found.tree["why"]) == (1, f"train.json says {'0' * 32}")


def test_data_that_changed_since_they_were_read_are_found(project, traced):
    """Each dataset is as dvc.lock has it, but not the folder that the training read."""
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    write(project, {"data/cached/training/pathmnist/images.npy": b"newer"})
    now = stages(project)
    lock["stages"]["cache@pathmnist"] = now["cache@pathmnist"]
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    found = traced(MODEL)
    assert found.status == 1
    assert [node["name"] for node in found.nodes if node["state"] == "differs"] == ["data/cached/training"]


def test_trace_imports_neither_dvc_nor_mlflow_nor_torch_and_leaves_no_trace(project):
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*") if ".git/" not in str(path)}
    code = (
        "import sys; sys.argv = ['mosaic', 'trace', 'mosaic/42']\n"
        "from mosaic_pipeline.commands.trace import main\n"
        f"sys.argv = ['mosaic trace', '{ROW}']\n"
        "main()\n"
        "names = ('dvc', 'mlflow', 'torch', 'pandas', 'rocrate', 'medmnist', 'filelock', 'scipy')\n"
        "print('IMPORTED', *[name for name in names if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.splitlines()[-1] == "IMPORTED"
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*") if ".git/" not in str(path)} == before


def uses(found) -> dict[str, dict]:
    return {node["name"]: node for node in found.tree.get("made_from_it", ())}


def test_of_a_model_it_is_told_what_was_made_of_it(project, traced, tmp_path):
    copy = tmp_path / "copy.bin"
    copy.write_bytes(b"model")
    given = bundle(project, tmp_path / "given", md5(b"model"))
    for thing in (MODEL, md5(b"model"), md5(b"model")[:8], "mosaic/42", "mosaic@champion", copy, given):
        found = traced(thing)
        made = uses(found)
        assert set(made) == {"evaluation/mosaic/42/A.json", "evaluation/mosaic/42/B.json", TABLE}, thing
        assert {node["state"] for node in made.values()} == {"verified"}
        assert (made[TABLE]["kind"], made[TABLE]["facts"]) == ("rows", {"lines": "2 to 4"})
        heading = next(index for index, line in enumerate(found.lines) if line.strip() == "made from it")
        assert any("evaluation/mosaic/42/B.json" in line for line in found.lines[heading:])
        assert f"rows {TABLE}" in found.lines[-3]
    for thing in (ROW, "configs/mosaic.yaml", "evaluation/mosaic/42/A.json", "."):
        assert not uses(traced(thing)), thing


def test_rows_of_another_model_are_not_told(project, traced):
    lines = (project / TABLE).read_text().splitlines()
    lines[2] = lines[2].replace(md5(b"model"), "0" * 32)
    (project / TABLE).write_text("\n".join([*lines, lines[1]]) + "\n")
    found = traced(MODEL)
    rows = uses(found)[TABLE]
    assert rows["facts"]["lines"] == "2, 4 to 5"
    assert (found.status, rows["state"]) == (1, "differs")  # from the recorded table


def test_a_table_that_names_no_model_is_told_by_the_training(project, traced):
    header, *lines = (project / TABLE).read_text().splitlines()
    cut = [",".join(line.split(",")[:-1]) for line in (header, *lines)]
    other = cut[1].replace("mosaic,42", "mosaic,43")
    (project / TABLE).write_text("\n".join([cut[0], other, *cut[1:]]) + "\n")
    assert uses(traced(MODEL))[TABLE]["facts"]["lines"] == "3 to 5"


def test_what_was_made_of_a_model_that_was_replaced_is_in_dvcs_run_cache(project, traced):
    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    runs = {f"runs/ab/abc/{name}": yaml.safe_dump(lock[name]).encode() for name in ("train@mosaic-42",)}
    runs["runs/ab/abc/evaluate"] = yaml.safe_dump(lock["evaluate@mosaic-42-A"]).encode()
    write(project / ".dvc/cache", runs)
    retrain(project, b"newer")
    assert set(uses(traced(md5(b"model")))) == {"evaluation/mosaic/42/A.json", TABLE}
    assert set(uses(traced(MODEL))) == {"evaluation/mosaic/42/A.json", "evaluation/mosaic/42/B.json"}


def test_a_crate_of_a_model_has_what_was_made_of_it(project, run_command, tmp_path):
    run_command("trace", MODEL, "--crate", tmp_path / "out.zip")
    crate = ROCrate(tmp_path / "out.zip")
    made = {action["result"].id: action["object"] for action in crate.get_by_type("CreateAction")}
    assert MODEL in {each.id for each in made["evaluation/mosaic/42/B.json"]}
    assert MODEL not in {each.id for each in made[MODEL]}


def test_what_was_made_of_a_model_of_the_past_is_in_the_dvc_lock_of_then(project, traced):
    retrain(project, b"newer")
    write(project, {TABLE: (project / TABLE).read_bytes().replace(md5(b"model").encode(), md5(b"newer").encode())})
    found = traced(md5(b"model"))
    assert found.tree["kind"] == "git revision"
    assert set(uses(found)) == {"evaluation/mosaic/42/A.json", "evaluation/mosaic/42/B.json", TABLE}


def test_a_copy_of_an_evaluation_is_no_model(project, traced, tmp_path):
    shutil.copy(project / "evaluation/mosaic/42/A.json", tmp_path / "copy.json")
    assert not uses(traced(tmp_path / "copy.json"))


def test_a_table_that_names_no_model_is_of_the_present_one(project, traced):
    entry = yaml.safe_load((project / "dvc.lock").read_text())["stages"]["train@mosaic-42"]
    write(project / ".dvc/cache", {"runs/ab/abc/def": yaml.safe_dump(entry).encode()})
    retrain(project, b"newer")
    rows = [line.rpartition(",")[0] for line in (project / TABLE).read_text().splitlines()]
    (project / TABLE).write_text("\n".join(rows) + "\n")
    assert uses(traced(MODEL))[TABLE]["facts"]["lines"] == "2 to 4"
    assert not uses(traced(md5(b"model")))
