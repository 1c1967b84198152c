"""Corrupted images and datasets that no model is trained on: what may not be asked, and files not as they were."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from case import Case, nothing
from damage import edited_npy, flipped, folder, missing, replaced, set_json, truncated

CORRUPT, TRANSFER = "corrupt mosaic 42 contrast", "transfer mosaic 42 pneumoniamnist"
RAW = "data/external/raw/pneumoniamnist.npz"
TRAINING, TEST = (f"data/external/cached/{part}/pneumoniamnist" for part in ("training", "test"))
NOISE, HEADS = "evaluation/mosaic/42/corrupted/contrast", "evaluation/shared/42/transfer/pneumoniamnist"
USAGE = "; usage: python -m stages."


def asked(name: str, key: str, value: Any, *says: str, command: str = "check") -> Case:
    return Case(f"{key}: {name}", command, params={f"data.{key}": value}, says=(f"params.yaml: data.{key}", *says))


def copied(name: str, onto: str) -> Callable[[Path], None]:
    def damage(project: Path) -> None:
        content = (project / name).read_bytes()
        (project / onto).unlink()  # which the finished project has too
        (project / onto).write_bytes(content)

    return damage


def shown(project: Path, *present: str, absent: tuple[str, ...] = ()) -> None:
    page = (project / "reports/index.html").read_text(encoding="utf-8")
    assert all(f'<section id="{name}">' in page for name in present)
    assert not any(f'<section id="{name}">' in page or f'href="#{name}"' in page for name in absent)


def nested(project: Path, stage: str, *metrics: str) -> None:
    """The stage's last run in MLflow is finished, lies under the training's and has these metrics."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]

    def runs(stage: str) -> list:
        return client.search_runs(experiments, f"tags.stage = '{stage}' and tags.variant = 'mosaic'")

    run, (training,) = runs(stage)[0], runs("train")
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == training.info.run_id
    assert run.data.tags["md5.model"] == training.data.tags["md5.model"]
    assert run.data.metrics.keys() >= set(metrics)


CASES = [
    asked("one that is trained on", "external", ["breastmnist"], "breastmnist is one of data.datasets"),
    asked("one twice", "external", ["octmnist", "octmnist"], "octmnist stands there more than once"),
    asked("one that is none", "external", ["pneumonia"], "pneumonia is neither", "did you mean pneumoniamnist?"),
    asked("an unknown one", "corruptions", ["fog"], "'fog'", "noise"),
    asked("one twice", "corruptions", ["blur", "blur"], "blur stands there more than once"),
    asked("not a list", "corruptions", "blur", "'blur'"),
    *(
        Case(f"{command.split()[0]} of {what}", command, says=says)
        for command, what, says in (
            ("corrupt mosaic 42 blur", "one that is not listed", ("data.corruptions: blur is not among contrast",)),
            ("corrupt mosaic 42 ../blur", "a path", ("argument corruption: '../blur'", USAGE)),
            ("corrupt mosaic 43 contrast", "a seed that is not listed", ("seeds: 43 is not among 42",)),
            ("transfer mosaic 42 octmnist", "one not listed", ("data.external: octmnist is not among pneumoniamnist",)),
            ("transfer mosaic 42", "nothing", ("required: dataset", USAGE)),
            ("transfer msaic 42 pneumoniamnist", "an unknown variant", ("variants.msaic: no such variant",)),
            ("download_external breastmnist", "a trained one", ("data.external: breastmnist is not among",)),
            ("cache_external breastmnist", "a trained one", ("data.external: breastmnist is not among",)),
            ("recognise_external breastmnist", "a trained one", ("data.external: breastmnist is not among",)),
        )
    ),
    Case(
        "external npz: a copy of a trained one's",
        "cache_external pneumoniamnist",
        copied("data/raw/breastmnist.npz", RAW),
        (RAW, "8 of 8 training images are images of breastmnist", "data.allow_leakage"),
    ),
    Case(
        "external npz: a copy of a trained one's, allowed",
        "cache_external pneumoniamnist",
        copied("data/raw/breastmnist.npz", RAW),
        ("warning: pneumoniamnist: 6 of 6 validation images are images of breastmnist that models are trained or",),
        status=0,
        params={"data.allow_leakage": True},
    ),
    Case(
        "cache_external: a trained dataset is not cached",
        "cache_external pneumoniamnist",
        missing("data/cached/training/breastmnist/val_images.npy"),
        ("data/cached/training/breastmnist/val_images.npy", "dvc repro cache"),
    ),
    Case("external npz: missing", "cache_external pneumoniamnist", missing(RAW), (RAW, "dvc repro download_external")),
    Case("external npz: half of it", "cache_external pneumoniamnist", truncated(RAW), (RAW,)),
    *(
        Case(f"{command.split()[0]}: {name}", command, damage, (path, *says))
        for command, name, path, damage, *says in (
            (TRANSFER, "no meta.json", f"{TEST}/meta.json", missing(f"{TEST}/meta.json"), "dvc repro cache_external"),
            (
                TRANSFER,
                "meta.json of another dataset",
                f"{TRAINING}/meta.json",
                set_json(f"{TRAINING}/meta.json", "dataset", "octmnist"),
                "of octmnist, not of pneumoniamnist",
            ),
            (
                TRANSFER,
                "no training images",
                f"{TRAINING}/train_images.npy",
                missing(f"{TRAINING}/train_images.npy"),
                "dvc repro cache_external",
            ),
            (
                TRANSFER,
                "other labels",
                f"{TRAINING}/train_labels.npy",
                edited_npy(f"{TRAINING}/train_labels.npy", lambda labels: labels[::-1].copy()),
                "not the labels that meta.json",
            ),
            (
                TRANSFER,
                "a label too many",
                f"{TEST}/test_labels.npy",
                edited_npy(f"{TEST}/test_labels.npy", lambda labels: np.full_like(labels, 5)),
                "labels 5 to 5",
            ),
            (
                TRANSFER,
                "a damaged model",
                "runs/mosaic/42/model.safetensors",
                flipped("runs/mosaic/42/model.safetensors"),
            ),
            (CORRUPT, "no model", "runs/mosaic/42/model.safetensors", missing("runs/mosaic/42/model.safetensors")),
            (
                CORRUPT,
                "a model of another configuration",
                "runs/mosaic/42/model.safetensors",
                replaced("configs/mosaic.yaml", "lr: 0.001", "lr: 0.002"),
                "md5.config",
            ),
            (
                CORRUPT,
                "no test images",
                "data/cached/test/breastmnist/test_images.npy",
                missing("data/cached/test/breastmnist/test_images.npy"),
                "dvc repro cache",
            ),
            (CORRUPT, "a folder in its place", f"{NOISE}.json", folder(f"{NOISE}.json"), "is a directory"),
            ("report", "no corrupted images", f"{NOISE}.json", missing(f"{NOISE}.json"), "dvc repro corrupt"),
            ("report", "half of the corrupted ones", f"{NOISE}.npz", truncated(f"{NOISE}.npz"), "dvc repro corrupt"),
            ("report", "no heads", f"{HEADS}.json", missing(f"{HEADS}.json"), "dvc repro transfer"),
            ("report", "heads of another", f"{HEADS}.json", set_json(f"{HEADS}.json", "seed", 1), "of variant shared"),
        )
    ),
    Case(
        "corrupt: a run under the training's",
        CORRUPT,
        nothing,
        ("breastmnist: contrast from weakest to strongest, n 7, acc ",),
        status=0,
        then=lambda project: nested(project, "corrupt", "corrupted/breastmnist/acc", "corrupted/retinamnist/auc"),
    ),
    Case(
        "transfer: a run under the training's",
        TRANSFER,
        nothing,
        ("pneumoniamnist by backbone: n 7, val_score ", "pneumoniamnist by specialist/C: "),
        status=0,
        then=lambda project: nested(
            project,
            "transfer",
            "transfer/pneumoniamnist/backbone/acc",
            "transfer/pneumoniamnist/specialist/B/val_score",
        ),
    ),
    Case(
        "report: both are shown where they are asked for",
        "report",
        nothing,
        ("reports/index.html",),
        status=0,
        then=lambda project: shown(project, "transfer", "robustness"),
    ),
    Case(
        "report: files of what is no longer asked for are not shown",
        "report",
        nothing,
        ("reports/index.html",),
        status=0,
        params={"data.external": [], "data.corruptions": []},
        then=lambda project: shown(project, absent=("transfer", "robustness")),
    ),
]
