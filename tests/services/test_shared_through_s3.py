"""An ablation that several machines share, each with a cache of its own, through a remote on S3."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import pytest
from servers import s3
from small import Repository, copied

VARIANTS = ("mosaic", "linear_probe")
CHANGE = {
    "data": {"datasets": ["breastmnist"]},
    "specialists": ["B"],
    "phantom": {"train": 8, "val": 6, "test": 7},
    "model": {"backbone": "test_vit"},
    "train": {"num_rounds": 1, "warmup_rounds": 0},
    "ablation": {"run": list(VARIANTS), "analyse": ["mosaic"], "analyse_cases": 6},
    "compute": {"threads": 1},
}
RESULTS = ("dvc.lock", "reports")


def cloned(origin: Repository, folder: Path) -> Repository:
    """A machine that has what git has, and nothing else yet."""
    origin.run("git", "clone", "-q", ".", str(folder))
    clone = Repository(folder)
    clone.environment = origin.environment
    return clone


def ran(printed: str) -> set[str]:
    return set(re.findall("^Running stage '(.*)':", printed, re.MULTILINE))


def cached(printed: str) -> set[str]:
    return set(re.findall("^Stage '(.*)' is cached", printed, re.MULTILINE))


def results(repository: Repository) -> dict[str, bytes]:
    files = repository.run("git", "ls-files", "-co", "--exclude-standard", *RESULTS).splitlines()
    return {name: (repository.folder / name).read_bytes() for name in files}


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """One machine prepares, two train a variant each, a third tests both, a fourth assembles."""
    folder = tmp_path_factory.mktemp("machines")
    with s3(folder, "mosaic") as url:
        origin = copied(folder / "origin", CHANGE)
        origin.environment |= {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "its-secret"}
        origin.environment |= {"AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}
        origin.run("dvc", "remote", "add", "--default", "group", "s3://mosaic/dvc")
        origin.run("dvc", "remote", "modify", "group", "endpointurl", url)
        origin.commit("a remote")
        origin.run("dvc", "repro", "recognise", "tune")
        origin.commit("prepared")
        origin.run("dvc", "push")
        with urlopen(f"{url}/mosaic?list-type=2", timeout=60) as answer:
            bucket = answer.read().decode()

        printed = {}
        for name, targets in {
            "one": ["train@mosaic-42"],
            "two": ["train@linear_probe-42"],
            "three": ["evaluate", "analyse"],
            "four": ["report"],
        }.items():
            machine = cloned(origin, folder / name)
            machine.run("dvc", "pull", "--run-cache", "--allow-missing")
            printed[name] = machine.run("dvc", "repro", "--allow-missing", "--pull", *targets)
            if name != "four":
                machine.run("dvc", "push", "--run-cache")
        yield SimpleNamespace(origin=origin, last=machine, bucket=bucket, printed=printed)


def test_what_was_fetched_from_elsewhere_is_neither_pushed_nor_fetched_again(shared):
    raw = (shared.origin.folder / "data/raw/breastmnist.npz").stat().st_size
    sizes = {int(size) for size in re.findall("<Size>([0-9]+)</Size>", shared.bucket)}
    assert (shared.origin.folder / "weights/backbone.safetensors").stat().st_size in sizes
    assert raw not in sizes
    assert not list((shared.last.folder / "data/raw").glob("*"))


def test_every_training_and_test_runs_on_one_machine_alone(shared):
    stages = {name: ran(printed) for name, printed in shared.printed.items()}
    assert stages == {
        "one": {"train@mosaic-42"},
        "two": {"train@linear_probe-42"},
        "three": {name for variant in VARIANTS for name in (f"evaluate@{variant}-42-B", f"analyse@{variant}-42")},
        "four": {"report"},
    }
    assert {f"train@{variant}-42" for variant in VARIANTS} <= cached(shared.printed["three"])
    assert {f"train@{variant}-42" for variant in VARIANTS} <= cached(shared.printed["four"])
    assert {run.data.tags["stage"] for run in shared.last.search("")} == {"report"}


def test_what_was_assembled_is_what_one_machine_makes(shared):
    assert ran(shared.origin.run("dvc", "repro", "report")) >= {f"train@{variant}-42" for variant in VARIANTS}
    assembled = results(shared.last)
    assert {"dvc.lock", "reports/index.html", "reports/results.csv"} <= assembled.keys()
    assert assembled == results(shared.origin)
