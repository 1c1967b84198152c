"""Splits are by patient, the same everywhere, and say what they lack."""

import json

import pytest

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.segmentation.data.splits import draw_splits, read_splits

CASES = {f"case_{number:02d}": f"patient_{number // 2}" for number in range(20)}


def draw(patients: dict[str, str], seed: int = 0, test: float = 0.2, val: float = 0.1) -> dict[str, str]:
    return draw_splits(patients, test=test, val=val, seed=seed, name="mine")


def test_a_patient_is_in_one_split_and_shares_are_of_patients():
    split_of = draw(CASES)
    of_patient = {(patient, split_of[case]) for case, patient in CASES.items()}
    assert len(of_patient) == 10
    assert sorted(split for _, split in of_patient) == ["test"] * 2 + ["train"] * 7 + ["val"]


def test_a_draw_depends_on_names_and_seed_alone():
    assert draw(CASES) == draw(dict(reversed(CASES.items())))
    assert draw(CASES) != draw(CASES, seed=1)
    # The same on every machine: in order of the sha256 of 0:a, 0:c and 0:b.
    assert draw(dict(zip("abc", "abc", strict=True))) == {"a": "test", "b": "train", "c": "val"}


def test_another_seed_is_what_changes_it_not_another_patient():
    before, after = draw(CASES), draw(CASES | {"more": "patient_more"})
    moved = [case for case in CASES if before[case] != after[case]]
    assert len(moved) <= 4  # of the patients next to the borders at most


def test_every_split_has_a_patient_and_too_few_are_refused():
    assert set(draw(dict(zip("abc", "abc", strict=True)), test=0.01, val=0.01).values()) == {"train", "val", "test"}
    with pytest.raises(PipelineError, match="mine: 2 patients, too few to test on 1, validate on 1 and train"):
        draw({"a": "a", "b": "b", "c": "b"})


def test_a_file_says_which_case_is_where(tmp_path):
    file = tmp_path / "splits.json"
    own = {"train": ["a"], "val": ["b"], "test": ["c"]}
    for tree in (own, {"mine": own, "other": {}}):
        file.write_text(json.dumps(tree))
        assert read_splits(file, {"a": "a", "b": "b", "c": "c"}, "mine") == {"a": "train", "b": "val", "c": "test"}


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"train": ["a"], "val": ["b"], "test": []}, "mine: c in no split"),
        ({"train": ["a", "d"], "val": ["b"], "test": ["c"]}, "d: no case of mine"),
        ({"train": ["a", "c"], "val": ["a"], "test": ["b"]}, "mine: a stands there more than once"),
        ({"train": ["a", "b"], "test": ["c"]}, "mine: no case in val"),
        ({"train": ["a"], "val": ["b"], "test": "c"}, "mine: test is not a list of cases"),
        ({"mine": {"train": ["a"], "validation": ["b"]}}, "mine: validation is none of train, val, test"),
        ({"other": {"train": ["a"]}}, "neither train, val and test nor mine among other"),
        ([{"train": ["a"], "val": ["b"]}], "a list, as nnU-Net's folds are"),
        ("train", "not a mapping"),
        ("{", "not valid JSON"),
        (None, "no such file"),
    ],
)
def test_a_file_that_leaves_something_open_is_refused(tmp_path, tree, said):
    file = tmp_path / "splits.json"
    if tree is not None:
        file.write_text(tree if tree == "{" else json.dumps(tree))
    with pytest.raises(PipelineError) as error:
        read_splits(file, {"a": "a", "b": "b", "c": "c"}, "mine")
    assert str(error.value).startswith(f"{file}: ")
    assert said in str(error.value)


def test_a_file_that_tears_a_patient_apart_is_refused(tmp_path):
    file = tmp_path / "splits.json"
    file.write_text(json.dumps({"train": ["a"], "val": ["b"], "test": ["c"]}))
    with pytest.raises(PipelineError, match="patient p in test and train"):
        read_splits(file, {"a": "p", "b": "b", "c": "p"}, "mine")
