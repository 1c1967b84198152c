import json
import zipfile
from pathlib import Path

import pytest
import yaml
from project import ACC, DATE, DEVICE, MODEL, TABLE, WIDER, git, item, md5, stages, write
from rocrate.rocrate import ROCrate

ROW = f"{TABLE}:2"


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_crate_is_read_back_with_the_files_and_what_made_them(project, run_command, tmp_path):
    (project / "data/raw/pathmnist.npz").unlink()
    status, _ = run_command("trace", ROW, "--crate", tmp_path / "out.zip")
    assert status == 0
    crate = ROCrate(tmp_path / "out.zip")
    assert crate.name == f"Provenance of {ROW}: mosaic, seed 42, pathmnist"
    assert crate.root_dataset["conformsTo"].id.startswith("https://w3id.org/ro/wfrun/process/")
    assert crate.root_dataset["datePublished"] == DATE  # the commit's, not the clock's
    files = {entity.id: entity for entity in crate.data_entities}
    kept = contents(tmp_path / "out.zip")
    assert set(files) == set(kept) - {"ro-crate-metadata.json"}
    assert files[MODEL]["identifier"] == f"md5:{md5(kept[MODEL])}"
    raw = crate.get(f"#raw-file-{item_of(project, 'download@pathmnist')}")  # not here: by its md5 alone
    assert (raw["name"], raw.type) == ("data/raw/pathmnist.npz", "CreativeWork")
    made = {action["result"].id: action for action in crate.get_by_type("CreateAction")}
    inputs = {entity["name"] for entity in made[MODEL]["object"]}
    assert {"configs/mosaic.yaml", "weights/backbone.safetensors", DEVICE} <= inputs
    tree = json.loads(kept["provenance.json"])
    assert tree["tree"]["facts"]["acc"] == str(ACC)


def item_of(project: Path, stage: str) -> str:
    return yaml.safe_load((project / "dvc.lock").read_text())["stages"][stage]["outs"][0]["md5"]


def test_large_files_stay_where_they_are(project, run_command, tmp_path, monkeypatch):
    monkeypatch.setattr("mosaic_pipeline.provenance.crate.SMALL", 10)
    run_command("trace", MODEL, "--crate", tmp_path / "out.zip")
    assert MODEL in contents(tmp_path / "out.zip")  # 5 bytes
    assert "runs/mosaic/42/train.json" not in contents(tmp_path / "out.zip")
    assert ROCrate(tmp_path / "out.zip").get(f"#beside-it-{item(project, 'runs/mosaic/42/train.json')['md5']}")


def private(project: Path) -> None:
    """Let parameters name folders of this machine, and a password, and commit what was rendered with them."""
    text = f"data:\n  mirror: {project}/mirror\n  other: ~/scans/mine\nurl: https://me:secret@host/x\nseeds: [42]\n"
    write(project, {"params.yaml": text.encode(), "reports/index.html": f"<p>{project}/mirror</p>".encode()})
    write(project, {"dvc.yaml": b"stages: {}\n"})
    (project / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages(project)}))
    git(project, "add", "-A")
    git(project, "commit", "-qm", "mirror")


def test_the_workspace_is_shared_as_one_crate_without_what_is_of_this_machine(project, run_command, tmp_path):
    private(project)
    write(project, {"bundles/mosaic-42/README.md": b"# The card\n"})
    status, printed = run_command("share", "-o", tmp_path / "given.zip")
    assert status == 0
    assert printed.startswith(f"{tmp_path}/given.zip: ")
    kept = contents(tmp_path / "given.zip")
    assert set(kept) == {
        *("params.yaml", "dvc.yaml", "dvc.lock", "configs/mosaic.yaml", "cards/mosaic-42.md"),
        *(TABLE, "reports/index.html", "reports/ablation.md", "provenance.json", "ro-crate-metadata.json"),
    }
    assert kept["cards/mosaic-42.md"] == b"# The card\n"
    assert kept[TABLE] == (project / TABLE).read_bytes()
    everything = b"".join(kept.values())
    for told in (str(project), str(tmp_path), "secret", "~/scans", str(Path.home())):
        assert told.encode() not in everything, told
    assert yaml.safe_load(kept["params.yaml"])["data"] == {"mirror": "mirror", "other": "mine"}
    assert kept["reports/index.html"] == b"<p>mirror</p>"
    crate = ROCrate(tmp_path / "given.zip")
    assert crate.get("configs/mosaic.yaml")["identifier"].startswith("md5:")
    assert "identifier" not in crate.get("params.yaml").properties()  # what is recorded of it are other bytes


def test_addresses_that_have_the_parts_of_a_path_stay_what_they_are(project, run_command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/anna")
    write(project, {"reports/index.html": b'<a href="https://x.org/anna/y">/anna/y, file:///anna/z</a>'})
    run_command("share", "-o", tmp_path / "out.zip")
    shown = contents(tmp_path / "out.zip")["reports/index.html"]
    assert shown == b'<a href="https://x.org/anna/y">anna/y, file://anna/z</a>'


def test_a_share_is_the_same_bytes_at_another_time_and_place(project, run_command, tmp_path, monkeypatch):
    run_command("share", "-o", tmp_path / "one.zip")
    run_command("trace", ROW, "--crate", tmp_path / "crate.zip")
    moved = tmp_path / "moved"
    project.rename(moved)
    monkeypatch.chdir(moved)
    for path in moved.rglob("*"):
        if path.is_file():
            path.touch()
    run_command("share", "-o", tmp_path / "two.zip")
    run_command("trace", ROW, "--crate", tmp_path / "again.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert (tmp_path / "crate.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
        assert archive.namelist() == sorted(archive.namelist())


def test_a_presigned_address_is_shared_without_what_signs_it(project, run_command, tmp_path):
    address = "https://host/x.npz?token=SECRET&X-Amz-Signature=SIGNED"
    write(project, {"params.yaml": f"model:\n  weights: {address}\nseeds: [42]\n".encode()})
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    lock["stages"]["weights"]["params"]["params.yaml"]["model.weights"] = address
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    run_command("share", "-o", tmp_path / "share.zip")
    run_command("trace", "weights/backbone.safetensors", "--crate", tmp_path / "crate.zip")
    for path in (tmp_path / "share.zip", tmp_path / "crate.zip"):
        everything = b"".join(contents(path).values())
        assert b"https://host/x.npz?token=" in everything
        assert b"SECRET" not in everything
        assert b"SIGNED" not in everything
    shared = contents(tmp_path / "share.zip")
    hidden = "https://host/x.npz?token=***&X-Amz-Signature=***"
    assert yaml.safe_load(shared["params.yaml"])["model"]["weights"] == hidden
    kept = yaml.safe_load(shared["dvc.lock"])["stages"]["weights"]["params"]["params.yaml"]
    assert kept["model.weights"] == hidden


@pytest.mark.parametrize("command", [("share", "-o"), ("trace", MODEL, "--crate")])
def test_only_a_zip_is_written_over(project, refused, run_command, command, tmp_path):
    for name, said in (("notes.md", "its name must end in .zip"), ("notes.zip", "is there already, and is no zip")):
        (tmp_path / name).write_text("mine")
        assert said in refused(*command, tmp_path / name)
        assert (tmp_path / name).read_text() == "mine"
    assert "is no zip" in refused(*command, tmp_path / "notes.zip")
    (tmp_path / "notes.zip").unlink()
    for _ in range(2):  # the second writes over the first
        assert run_command(*command, tmp_path / "notes.zip")[0] == 0


def test_a_user_without_a_home_shares_too(project, run_command, tmp_path, monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert run_command("share", "-o", tmp_path / "out.zip")[0] == 0


def test_an_experiment_is_shared_as_it_was_committed(project, run_command, tmp_path):
    config = (project / "configs/mosaic.yaml").read_bytes()
    write(project / ".dvc/cache/files/md5", {f"{md5(config)[:2]}/{md5(config)[2:]}": config})
    git(project, "update-ref", WIDER, git(project, "rev-parse", "HEAD"))
    table = (project / TABLE).read_bytes()
    write(project, {TABLE: b"variant,seed,dataset\n", "configs/mosaic.yaml": b"other: 1\n"})
    status, printed = run_command("share", "wider")
    assert (status, printed.split(":")[0]) == (0, "mosaic-wider.zip")
    kept = contents(project / "mosaic-wider.zip")
    assert (kept[TABLE], kept["configs/mosaic.yaml"]) == (table, config)


def test_what_cannot_be_shared_is_one_line_and_leaves_nothing(project, refused, tmp_path):
    out = tmp_path / "out.zip"
    assert refused("share", "nobody", "-o", out).startswith("nobody: no DVC experiment and no git revision")
    for name in (TABLE, "reports/index.html", "reports/ablation.md"):
        (project / name).unlink()
    assert refused("share", "-o", out) == "workspace: no report of it is here; `dvc repro` renders one"
    (project / "params.yaml").write_text("a: [")
    assert refused("share", "-o", out).startswith("params.yaml: not valid YAML (")
    assert not out.exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_report_that_is_another_than_recorded_is_shared_with_a_warning(project, run_command, tmp_path):
    write(project, {"reports/index.html": b"edited"})
    _, printed = run_command("share", "-o", tmp_path / "out.zip")
    assert "warning: reports/index.html is not what is recorded: its md5 is" in printed
