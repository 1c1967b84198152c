"""Names out of params.yaml that a shell, or DVC's own cleaning up, would take for something else: with real DVC."""

import shutil
from pathlib import Path

import pytest
import yaml
from small import ROOT, Repository

COMMITTED = yaml.safe_load((ROOT / "params.yaml").read_text())
# As a seed it leads to a file that is none of a training's; names of datasets and variants stand in several outputs
# each, which DVC would find to be the same one.
LEADS_AWAY = "../../profiles"
HARMED = "profiles/model.safetensors"
NAMES = [
    "a; touch pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "a'; touch pwned; '",
    "a' $(touch pwned) '",
    'a"; touch pwned; "',
    "a\ntouch pwned",
    "a'\ntouch pwned\n'",
    "a && touch pwned #",
    "--help",
]


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Repository:
    """What DVC needs of the pipeline, and nothing that could train."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in ("stages", "pipeline", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
    repository = Repository(folder)
    repository.run("git", "init", "-q")
    return repository


def put(repository: Repository, datasets: list, run: list, seeds: list) -> None:
    tree = COMMITTED | {"data": COMMITTED["data"] | {"datasets": datasets}, "seeds": seeds}
    tree["ablation"] = COMMITTED["ablation"] | {"run": run, "analyse": []}
    # Without segmentation: of such a seed DVC finds outputs of two of its stages to be the same, and runs nothing.
    section = COMMITTED["segmentation"]
    tree["segmentation"] = section | {"ablation": section["ablation"] | {"run": [], "analyse": []}}
    tree["ablation"]["variants"] = tree["ablation"]["variants"] | {name: {"why": "any"} for name in run}
    (repository.folder / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    (repository.folder / HARMED).write_text("here")


def unharmed(folder: Path) -> bool:
    return not list(folder.rglob("pwned")) and (folder / HARMED).is_file() and not (folder / "candidates").exists()


@pytest.mark.parametrize(
    ("datasets", "run", "seeds"),
    [(["breastmnist"], NAMES, [42]), (NAMES, ["mosaic"], [42]), (["breastmnist"], ["mosaic"], [*NAMES, LEADS_AWAY])],
    ids=["variant", "dataset", "seed"],
)
def test_a_name_in_params_yaml_runs_nothing_and_deletes_nothing(repository, datasets, run, seeds):
    put(repository, datasets, run, seeds)
    printed = repository.run("dvc", "repro", "--keep-going", fails=True)
    assert unharmed(repository.folder)
    assert "Running stage 'check'" in printed
    assert printed.count("Running stage") == 1
    (line,) = [line for line in printed.splitlines() if line.startswith("error:")]
    assert line.startswith("error: params.yaml: ")


@pytest.mark.parametrize("name", ["a'; touch pwned; '", "$(touch pwned)"])
def test_a_stage_that_is_run_without_the_check_runs_nothing_either(repository, name):
    put(repository, ["breastmnist"], [name], [42])
    repository.run("dvc", "repro", "--single-item", f"configure@{name}", fails=True)
    assert unharmed(repository.folder)
