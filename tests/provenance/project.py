"""A finished project in a few small files: what trace reads of one, with the md5s that belong to them."""

import hashlib
import json
import os
import sqlite3
import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml

from mosaic_pipeline.code import list_code

DATASETS = {"pathmnist": "A", "retinamnist": "A", "breastmnist": "B"}
STAGES = ("declare", "download", "cache", "weights", "configure", "tune", "train", "evaluate", "report")
ACC, LOW, DEVICE = 0.40625, 0.313453022, "NVIDIA H100"
FIRST, AGAIN, TEST, REPORT = ("a" * 31 + digit for digit in "1234")  # ids of runs in MLflow
DATE = "2026-01-02T03:04:05+00:00"  # of all commits
MODEL = "runs/mosaic/42/model.safetensors"
TABLE = "reports/results.csv"
WIDER = f"refs/exps/12/{'3' * 38}/wider"  # where DVC keeps the experiment of this name


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    environment = os.environ | {"GIT_COMMITTER_DATE": DATE, "TZ": "Asia/Tokyo"}
    command = ["git", *identity, *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def finish(folder: Path) -> Path:
    """Write the project into `folder`, commit it as its user would, and return it."""
    files = {f"stages/{stage}.py": f'"""Stage {stage}."""\n'.encode() for stage in STAGES}
    files["pipeline/mosaic_pipeline/data/own/build.py"] = b""
    ignored = ("code", "declared", "data", "weights", "candidates", "configs", "runs", "evaluation")
    files[".gitignore"] = "".join(f"/{each}/\n" for each in ignored).encode() + b"mlflow.db\n"
    files["params.yaml"] = b"seeds: [42]\n"
    write(folder, files)
    (folder / ".dvc").mkdir()
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "code")
    write(folder, results(git(folder, "rev-parse", "HEAD")))
    write(folder, {f"code/{stage}.txt": list_code(stage, folder).encode() for stage in STAGES})
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages(folder)}))
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "results")
    track(folder, git(folder, "rev-parse", "HEAD~1"))
    return folder


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def results(revision: str) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name in DATASETS:
        files |= {f"declared/{name}/{part}.yaml": f"{part} of {name}\n".encode() for part in ("source", "about")}
        files[f"data/raw/{name}.npz"] = f"raw {name}".encode()
        for part in ("training", "test"):
            folder = f"data/cached/{part}/{name}"
            files |= {f"{folder}/{file}": f"{file} of {name} {part}".encode() for file in ("meta.json", "images.npy")}
    files |= {"weights/backbone.safetensors": b"backbone", "candidates/mosaic.yaml": b"candidates: 1\n"}
    files |= {"configs/mosaic.yaml": b"adapter: 1\n", MODEL: b"model", "runs/mosaic/42/history.csv": b"round\n1\n"}
    of = {"model": md5(b"model"), "config": md5(b"adapter: 1\n"), "weights": md5(b"backbone")}
    files["runs/mosaic/42/train.json"] = json.dumps({"variant": "mosaic", "seed": 42, "md5": of}).encode()
    rows = ["variant,seed,dataset,specialist,source,official,n,acc,acc_low,revision,md5_model"]
    for specialist in "AB":
        own = [name for name, each in DATASETS.items() if each == specialist]
        result = {"n": 96, "acc": ACC, "data": {"source": "phantom", "official": False}}
        tested = {"variant": "mosaic", "seed": 42, "specialist": specialist, "md5": of}
        tested["datasets"] = dict.fromkeys(own, result)
        files[f"evaluation/mosaic/42/{specialist}.json"] = json.dumps(tested).encode()
        files[f"evaluation/mosaic/42/{specialist}.npz"] = f"scores {specialist}".encode()
        rows += [f"mosaic,42,{name},{specialist},phantom,no,96,{ACC},{LOW},{revision},{of['model']}" for name in own]
    files[TABLE] = ("\n".join(rows) + "\n").encode()
    return files | {"reports/index.html": b"<p>phantom</p>\n", "reports/ablation.md": b"# Ablation\n"}


def item(folder: Path, name: str) -> dict:
    """An entry of dvc.lock, with md5s by the words of DVC's own format."""
    path = folder / name
    if path.is_file():
        return {"path": name, "hash": "md5", "md5": md5(path.read_bytes()), "size": path.stat().st_size}
    files = sorted(each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file())
    listed = [{"md5": md5((path / each).read_bytes()), "relpath": each} for each in files]
    size = sum((path / each).stat().st_size for each in files)
    return {"path": name, "hash": "md5", "md5": f"{md5(json.dumps(listed).encode())}.dir", "size": size}


def stages(folder: Path) -> dict[str, dict]:
    def stage(name: str, deps: list[str], outs: list[str], **params: object) -> dict:
        own = [f"code/{name.partition('@')[0]}.txt", *deps]
        entry = {"cmd": "python", "deps": [item(folder, each) for each in own], "outs": [item(folder, o) for o in outs]}
        return {name: entry | ({"params": {"params.yaml": params}} if params else {})}

    weights, data, config = "weights/backbone.safetensors", "data/cached/training", "configs/mosaic.yaml"
    record = "runs/mosaic/42/train.json"
    lists = [item(folder, f"code/{each}.txt") for each in STAGES]
    found = {"code": {"cmd": "python", "outs": lists}} | stage("declare", [], ["declared"])
    phantom = {"data.source": "phantom", "data.size_2d": 28, "phantom": {"train": 8}}
    for name in DATASETS:
        source, raw = f"declared/{name}/source.yaml", f"data/raw/{name}.npz"
        fetched = phantom | ({"data.source": "zenodo"} if name == "retinamnist" else {})
        found |= stage(f"download@{name}", [source], [raw], **fetched)
        cached = [f"data/cached/{part}/{name}" for part in ("test", "training")]
        found |= stage(f"cache@{name}", [source, f"declared/{name}/about.yaml", raw], cached)
    found |= stage("weights", [], [weights], **{"model.weights": "https://me:secret@host/vit.npz"})
    found |= stage("configure@mosaic", ["params.yaml"], ["candidates/mosaic.yaml"])
    found |= stage("tune@mosaic", ["candidates/mosaic.yaml", data, weights], [config])
    trained = ["runs/mosaic/42/history.csv", MODEL, record]
    found |= stage("train@mosaic-42", [config, data, weights], trained)
    for specialist in "AB":
        outs = [f"evaluation/mosaic/42/{specialist}.{suffix}" for suffix in ("json", "npz")]
        found |= stage(
            f"evaluate@mosaic-42-{specialist}", [config, data, "data/cached/test", weights, MODEL, record], outs
        )
    reports = [TABLE, "reports/index.html", "reports/ablation.md"]
    return found | stage("report", ["configs", "runs", "evaluation"], reports)


def track(folder: Path, revision: str) -> None:
    """Write an mlflow.db with what trace reads of one; tests/stages/test_pipeline.py has MLflow's own."""
    of = {"md5.model": md5(b"model"), "git.revision": revision, "variant": "mosaic"}
    runs = [
        (AGAIN, "mosaic-42", 2000, of | {"stage": "train", "device": "another"}),
        (FIRST, "mosaic-42", 1000, of | {"stage": "train", "device": DEVICE, "md5.config": md5(b"adapter: 1\n")}),
        (TEST, "mosaic-42-A", 1500, of | {"stage": "evaluate", "specialist": "A"}),
        (REPORT, "report", 3000, {"stage": "report"}),
        ("b" * 32, "gone", 1, of | {"stage": "train", "md5.model": "c" * 32}),
    ]
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.executescript(
            "CREATE TABLE runs (run_uuid, name, status, start_time, lifecycle_stage);"
            "CREATE TABLE tags (key, value, run_uuid);"
            "CREATE TABLE registered_models (name);"
            "CREATE TABLE registered_model_aliases (name, alias, version);"
            "CREATE TABLE model_versions (name, version, run_id, current_stage);"
            "CREATE TABLE model_version_tags (name, version, key, value);"
            f"INSERT INTO registered_models VALUES ('mosaic');"
            f"INSERT INTO registered_model_aliases VALUES ('mosaic', 'champion', 3);"
            f"INSERT INTO model_versions VALUES ('mosaic', 3, '{FIRST}', 'None');"
            f"INSERT INTO model_versions VALUES ('mosaic', 2, '{FIRST}', 'Deleted_Internal');"
        )
        for run, name, start, tags in runs:
            database.execute("INSERT INTO runs VALUES (?, ?, 'FINISHED', ?, 'active')", (run, name, start))
            database.executemany(
                "INSERT INTO tags VALUES (?, ?, ?)", [(key, value, run) for key, value in tags.items()]
            )
    database.close()
