"""What depends on what, as DVC resolves it: data beside the trained ones touch nothing that is there without them."""

import shutil
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TRAINED = ("retinamnist", "nodulemnist3d")


@pytest.fixture
def stages(tmp_path):
    """Resolve dvc.yaml for other values of `data`: by stage its command, what it depends on, and what it makes."""
    from dvc.repo import Repo

    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    Repo.init(str(tmp_path), no_scm=True).close()

    def resolve(specialists="ABC", **data):
        params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        params["data"] |= {"datasets": list(TRAINED), "external": [], "corruptions": []} | data
        params["ablation"] |= {"run": ["mosaic", "shared"]}
        params["specialists"] = list(specialists)
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        with Repo(str(tmp_path)) as repo:
            return {
                stage.name: (
                    stage.cmd,
                    sorted((dep.def_path, tuple(getattr(dep, "params", None) or ())) for dep in stage.deps),
                    sorted(out.def_path for out in stage.outs),
                )
                for stage in repo.index.stages
            }

    return resolve


def readers(found: dict, makers: set[str]) -> set[str]:
    """Other stages that depend on a file of these, or on a folder that holds one."""
    made = [Path(out) for name in makers for out in found[name][2]]
    return {
        name
        for name in found.keys() - makers
        if any(out.is_relative_to(dep) or Path(dep).is_relative_to(out) for dep, _ in found[name][1] for out in made)
    }


def test_the_default_has_no_stage_for_what_it_does_not_ask(stages):
    found = stages()
    assert not [name for name in found if name.startswith(("corrupt", "transfer")) or "external" in name]


def test_another_dataset_adds_its_own_stages_and_changes_none(stages):
    before, after = stages(), stages(datasets=["breastmnist", *TRAINED])
    assert after.items() >= before.items()
    assert after.keys() - before.keys() == {"download@breastmnist", "cache@breastmnist"}
    # Of what is declared they read their own files alone, which another dataset leaves as they are (test_declared.py).
    for stage in ("download", "cache"):
        declared = [dep for dep, _ in after[f"{stage}@breastmnist"][1] if dep.startswith("declared")]
        assert declared
        assert all(dep.startswith("declared/breastmnist/") for dep in declared)


def test_another_specialist_adds_tests_of_its_datasets_and_changes_no_stage(stages):
    before, after = stages(), stages("ABCD")
    assert after.items() >= before.items()
    assert after.keys() - before.keys() == {"evaluate@mosaic-42-D", "evaluate@shared-42-D"}


def test_an_external_dataset_adds_stages_and_changes_none(stages):
    before, after = stages(), stages(external=["breastmnist"], corruptions=["noise", "jpeg"])
    assert after.items() >= before.items()
    assert after.keys() - before.keys() == {
        "download_external@breastmnist",
        "cache_external@breastmnist",
        "recognise_external@breastmnist",
        "transfer@mosaic-42-breastmnist",
        "transfer@shared-42-breastmnist",
        *(f"corrupt@{variant}-42-{kind}" for variant in ("mosaic", "shared") for kind in ("noise", "jpeg")),
    }


def test_nothing_but_its_own_stages_and_the_report_reads_what_an_external_dataset_makes(stages):
    found = stages(external=["breastmnist"], corruptions=["noise"])
    assert readers(found, found.keys() - stages().keys()) == {"report"}


def test_another_external_dataset_leaves_the_first_ones_stages_as_they_are(stages):
    external = ["breastmnist", "octmnist"]
    one, two = (stages(external=external[:count], corruptions=["blur"]) for count in (1, 2))
    assert two.items() >= one.items()
    assert len(two) == len(one) + 5
    assert readers(two, two.keys() - one.keys()) == {"report"}


def test_the_report_depends_on_which_of_them_are_shown(stages):
    keys = {key for _, params in stages()["report"][1] for key in params}
    assert keys >= {"data.external", "data.corruptions"}
