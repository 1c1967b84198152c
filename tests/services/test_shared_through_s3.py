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
MATRIX = ("python", "-m", "stages.matrix")
RESULTS = ("dvc.lock", "reports")


def cloned(origin: Repository, folder: Path) -> Repository:
    """A machine that has what git has, and nothing else yet."""
    origin.run("git", "clone", "-q", ".", str(folder))
    clone = Repository(folder)
    clone.environment = origin.environment
    return clone


def ran(printed: str) -> set[str]:
    return set(re.findall("^Running stage '(.*)':", printed, re.MULTILINE))


def results(repository: Repository) -> dict[str, bytes]:
    files = repository.run("git", "ls-files", "-co", "--exclude-standard", *RESULTS).splitlines()
    return {name: (repository.folder / name).read_bytes() for name in files}


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """One machine prepares, three have a cell each, a fourth assembles."""
    folder = tmp_path_factory.mktemp("machines")
    with s3(folder, "mosaic") as url:
        origin = copied(folder / "origin", CHANGE)
        origin.environment |= {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "its-secret"}
        origin.environment |= {"AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}
        origin.run("dvc", "remote", "add", "--default", "group", "s3://mosaic/dvc")
        origin.run("dvc", "remote", "modify", "group", "endpointurl", url)
        origin.commit("a remote")
        origin.run("dvc", "repro", "weights", "tune", "cache", "seg_declare", "seg_weights")
        origin.commit("prepared")
        origin.run("dvc", "push")
        with urlopen(f"{url}/mosaic?list-type=2", timeout=60) as answer:
            bucket = answer.read().decode()

        printed = {}
        for number, name in enumerate(("one", "two", "three")):
            machine = cloned(origin, folder / name)
            machine.run("dvc", "pull", "--run-cache", "--allow-missing")
            printed[name] = machine.run(*MATRIX, "cell", str(number), "--push")
        last = cloned(origin, folder / "four")
        last.run("dvc", "pull", "--run-cache", "--allow-missing")
        printed["without files"] = last.run(*MATRIX, "assemble", fails=True)
        printed["four"] = last.run(*MATRIX, "assemble", "--pull")
        yield SimpleNamespace(origin=origin, last=last, bucket=bucket, printed=printed)


def test_what_was_fetched_from_elsewhere_is_neither_pushed_nor_fetched_again(shared):
    raw = (shared.origin.folder / "data/raw/breastmnist.npz").stat().st_size
    sizes = {int(size) for size in re.findall("<Size>([0-9]+)</Size>", shared.bucket)}
    assert (shared.origin.folder / "weights/backbone.safetensors").stat().st_size in sizes
    assert raw not in sizes
    assert not list((shared.last.folder / "data/raw").glob("*"))


def test_every_cell_runs_on_one_machine_alone_and_none_on_the_last(shared):
    stages = {name: ran(printed) for name, printed in shared.printed.items()}
    of_a_cell = {
        variant: {f"train@{variant}-42", f"evaluate@{variant}-42-B", f"analyse@{variant}-42"} for variant in VARIANTS
    }
    assert stages == {
        "one": {"recognise"},
        "two": of_a_cell["mosaic"],
        "three": of_a_cell["linear_probe"],
        "without files": set(),
        "four": {"report", "seg_report"},
    }
    assert {run.data.tags["stage"] for run in shared.last.search("")} == {"report"}
    said = shared.printed["without files"].splitlines()[-1]
    assert said.startswith("error: ")


def test_what_was_assembled_is_what_one_machine_makes(shared):
    assert ran(shared.origin.run("dvc", "repro")) >= {f"train@{variant}-42" for variant in VARIANTS}
    assembled = results(shared.last)
    assert {"dvc.lock", "reports/index.html", "reports/results.csv"} <= assembled.keys()
    assert assembled == results(shared.origin)
