"""Declarations of datasets of one's own: what is legal, and what they depend on."""

import pytest
from pydantic import ValidationError

from mosaic_pipeline.own import Own

LEGAL = {
    "title": "Thyroid ultrasound",
    "dimension": 2,
    "channels": 1,
    "task": "binary-class",
    "classes": ["benign", "malignant"],
    "specialist": "D",
    "licence": "CC BY 4.0",
    "path": "~/data/thyroid",
    "kind": "csv",
}
SEVERAL = {"task": "multi-label, binary-class", "classes": ["mass", "edema", "hernia"]}


def declare(**changes):
    return Own.model_validate(LEGAL | changes)


def test_keys_that_are_left_out_have_the_usual_values():
    own = declare()
    assert (own.csv, own.size, own.fit, own.window, own.sided, own.allow_leakage) == (
        *("labels.csv", None, "pad", None),
        *(False, False),
    )
    assert own.label_columns == ("label",)
    assert declare(**SEVERAL).label_columns == ("mass", "edema", "hernia")


@pytest.mark.parametrize("key", ["title", "specialist", "licence"])
def test_what_is_said_about_a_dataset_is_not_what_it_is_made_from(key):
    assert declare(**{key: "X"}).source() == declare().source()


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "elsewhere"},
        {"classes": ["a", "b"]},
        {"split": {"seed": 1}},
        {"columns": {"file": "a"}},
        {"fit": "crop"},
    ],
)
def test_everything_else_is(changes):
    assert declare(**changes).source() != declare().source()


def test_classes_that_are_numbers_in_yaml_are_names():
    assert declare(classes=[0, 1]).classes == ("0", "1")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"classes": [False, True]}, "yes, no, true and false"),
        ({"titel": "x"}, "titel"),
        ({"title": ""}, "title"),
        ({"title": "two\nlines"}, "one line of plain text"),
        ({"dimension": 4}, "dimension"),
        ({"channels": 4}, "channels"),
        ({"dimension": 3, "channels": 3}, "volumes have one channel"),
        ({"task": "regression"}, "task"),
        ({"task": "multi-class", "classes": ["a"]}, "at least 2 items"),
        ({"classes": ["a", "b", "c"]}, "3 of them, but task is binary-class"),
        ({"classes": ["a", "a"]}, "a stands there more than once"),
        ({"classes": ["a", " A"]}, "differs from another one in capitals or spaces only"),
        ({"specialist": "d"}, "a capital letter"),
        ({"specialist": "DD"}, "a capital letter"),
        ({"kind": "tar"}, "kind"),
        ({"size": 4}, "greater than or equal to 8"),
        ({"size": True}, "not true or false"),
        ({"size": 4096}, "less than or equal to 1024"),
        ({"size": 512, "dimension": 3}, "volumes may have at most 256"),
        ({"fit": "scale"}, "fit"),
        ({"window": "auto"}, r"should be two numbers \[low, high\], or each, or null"),
        ({"window": [1]}, r"should be two numbers \[low, high\], or each, or null"),
        ({"window": [5, 5]}, "5 must be below 5"),
        ({"window": [0, float("nan")]}, "finite number"),
        ({"split": {"val": 0}}, "greater than 0"),
        ({"split": {"val": 0.5, "test": 0.5}}, "must leave at least 0.1 to train"),
        ({"split": {"train": 0.7}}, "train"),
        ({"columns": {"label": ["a", "b"]}}, "2 columns, but task binary-class needs 1"),
        (SEVERAL | {"columns": {"label": ["a", "b"]}}, "2 columns, but task multi-label, binary-class needs 3"),
        ({"columns": {"label": 3}}, "should be the name of a column"),
        ({"columns": {"file": "label"}}, "label stands there more than once"),
        (SEVERAL | {"kind": "folders"}, "a folder is one class"),
    ],
)
def test_what_is_not_legal_says_what_is(changes, says):
    with pytest.raises(ValidationError, match=says):
        declare(**changes)
