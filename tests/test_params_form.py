"""params.yaml is in the form in which DVC writes it, so that one changed value is one changed line of `git diff`.

What brings an edited file into it (and shows what it loses, such as a comment below a list):

    python -c "from dvc.utils.hydra import apply_overrides; apply_overrides('params.yaml', [])"; git diff params.yaml
"""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides  # what `dvc exp run -S` writes params.yaml with

from mosaic_pipeline.profile import overlay

ROOT = Path(__file__).parents[1]
PARAMS = (ROOT / "params.yaml").read_text()
TREE = yaml.safe_load(PARAMS)


def leaves(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """All values that `-S` can set, by dotted key: those of variants have dots in their own keys."""
    for key, value in tree.items():
        if path + key in ("ablation.variants", "segmentation.ablation.variants"):
            continue
        if isinstance(value, dict) and path + key != "ablation.tune.grid":
            yield from leaves(value, f"{path}{key}.")
        elif not isinstance(value, dict):
            yield path + key, value


def rewritten(folder: Path, *overrides: str, text: str = PARAMS) -> str:
    file = folder / "params.yaml"
    file.write_text(text)
    apply_overrides(file, list(overrides))
    return file.read_text()


def changes(after: str, before: str = PARAMS) -> tuple[list[str], list[str]]:
    """The removed and the added lines."""
    diff = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))[2:]
    return [line[1:] for line in diff if line[0] == "-"], [line[1:] for line in diff if line[0] == "+"]


def other(value: Any) -> str:
    if isinstance(value, bool):
        return str(not value).lower()
    return str(value * 2 + 1) if isinstance(value, int | float) else "null" if value else "else"


def test_dvc_leaves_every_byte_where_nothing_changes(tmp_path):
    assert changes(rewritten(tmp_path)) == ([], [])
    assert rewritten(tmp_path) == PARAMS


def test_every_changed_value_is_one_changed_line_that_keeps_its_comment(tmp_path):
    scalars = {key: value for key, value in leaves(TREE) if not isinstance(value, list)}
    removed, added = changes(rewritten(tmp_path, *(f"{key}={other(value)}" for key, value in scalars.items())))
    assert len(removed) == len(added) == len(scalars) > 70
    assert [line.partition("#")[2] for line in added] == [line.partition("#")[2] for line in removed]


@pytest.mark.parametrize("key", [key for key, value in leaves(TREE) if isinstance(value, list)])
def test_a_list_can_be_emptied_and_filled_and_no_other_line_changes(tmp_path, key):
    # Under a comment at the end of its line an emptied list would swallow the lines below it (ruamel.yaml 0.19).
    name = key.rpartition(".")[2]
    emptied = rewritten(tmp_path, f"{key}=[]")
    removed, added = changes(emptied)
    assert [line.strip() for line in added] in ([f"{name}: []"], [])
    assert all(line.lstrip().startswith(("- ", f"{name}:")) for line in removed)
    assert dict(leaves(yaml.safe_load(emptied))) == dict(leaves(TREE)) | {key: []}
    filled = rewritten(tmp_path, f"{key}=[a, b]", text=emptied)
    removed, added = changes(filled, emptied)
    assert [line.strip() for line in removed] == [f"{name}: []"]
    assert [line.strip() for line in added] == [f"{name}:", "- a", "- b"]


@pytest.mark.parametrize("profile", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_profile_is_laid_over_in_the_form_in_which_dvc_writes(tmp_path, profile):
    after = overlay(PARAMS, profile.read_text(), str(profile))
    assert after != PARAMS
    assert rewritten(tmp_path, text=after) == after


@pytest.mark.parametrize(
    "profile",
    [
        "ablation: {analyse: [], tune: {variants: [mosaic]}}",
        "ablation: {variants: {mine: {why: 'quoted', adapter.kind: lora}}, tune: {grid: {adapter.scale: [1.0]}}}",
        f"ablation: {{variants: {{mine: {{why: {'a long reason ' * 10}}}}}}}",
        "data: {train_limit: 5, mirror: null}",
        "seeds: [1, 2, 3]",
    ],
)
def test_whatever_a_profile_changes_dvc_would_write_the_same(tmp_path, profile):
    after = overlay(PARAMS, profile, "profiles/mine.yaml")
    assert rewritten(tmp_path, text=after) == after
    assert overlay(after, "seeds: [42]", "") == overlay(rewritten(tmp_path, "seeds=[42]", text=after), "{}", "")
