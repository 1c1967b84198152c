"""Sets of one's own in params.yaml."""

import json

import pytest
from pydantic import ValidationError

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.segmentation.custom import Custom, find_set
from mosaic_pipeline.segmentation.datasets import NAMED


@pytest.fixture
def declare(tmp_path, monkeypatch):
    """Write what params.yaml declares, beside whatever else is wrong with it."""
    monkeypatch.chdir(tmp_path)

    def write(**custom: object) -> None:
        tree = {"segmentation": {"data": {"custom": custom}}, "unknown": 1}
        (tmp_path / "params.yaml").write_text(json.dumps(tree))

    return write


def test_a_declared_set_is_found_by_its_name(declare, tmp_path):
    layout = {"images": "scans/{case}", "labels": "masks/{case}"}
    declare(mine={"modality": "mri", "labels": {"liver": 5, "left lung": 2}, "ignore": 7, "layout": layout})
    found = find_set("mine", tmp_path)
    assert found.form() == {
        "name": "mine",
        "modality": "mri",
        "labels": {"left lung": 2, "liver": 5},
        "ignore": [7],
    }
    assert (found.images, found.labels_at, found.title) == ("scans/{case}", "masks/{case}", "mine")
    assert find_set("btcv", tmp_path) is NAMED["btcv"]


def test_labels_may_be_the_folders_own(declare, tmp_path):
    declare(mine={"modality": "ct", "labels": "auto", "layout": "auto"})
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1, "ignore": 4}}))
    found = find_set("mine", tmp_path)
    assert (found.labels, found.ignore) == ({1: "liver"}, (4,))
    declare(mine={"modality": "ct", "ignore": "others"})
    assert find_set("mine", tmp_path).ignore == "others"
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0}}))
    with pytest.raises(PipelineError, match=r"dataset\.json: mine: no label; .*segmentation\.data\.custom\.mine"):
        find_set("mine", tmp_path)


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({}, "modality"),
        ({"modality": "C T"}, "modality"),
        ({"modality": "ct", "labels": {"liver": 0}}, "labels.liver = 0"),
        ({"modality": "ct", "labels": {"liver": True}}, "should be a number"),
        ({"modality": "ct", "labels": {}}, "no label"),
        ({"modality": "ct", "labels": {"liver": 1, "spleen": 1}}, "label id 1 is liver and spleen"),
        ({"modality": "ct", "labels": {"liver": 1}, "ignore": [1]}, "liver, and ignored"),
        ({"modality": "ct", "labels": {"liver": 1}, "ignore": "all"}, "ignore"),
        ({"modality": "ct", "labels": {"liver": 1}, "layout": {"images": "a", "labels": "{case}"}}, "stands in one of"),
        ({"modality": "ct", "labels": {"liver": 1}, "ignore": [2, True]}, "ignore: should be label ids, or others"),
        ({"modality": "ct", "labels": ["liver"]}, "labels: should be a mapping, or auto"),
        ({"modality": "ct", "layout": "msd"}, "should be a mapping, or auto"),
        ({"modality": "ct", "window": [1, 0]}, "window: 1 is not below 0"),
        ({"modality": "ct", "split_by": "slice"}, "split_by = 'slice'"),
        ({"modality": "ct", "split_by": None}, "split_by"),
    ],
)
def test_what_cannot_be_meant_is_one_line(declare, tmp_path, declared, said):
    declare(mine=declared)
    with pytest.raises(PipelineError) as error:
        find_set("mine", tmp_path)
    assert str(error.value).startswith("params.yaml: segmentation.data.custom.mine")
    assert said in str(error.value)
    with pytest.raises(ValidationError):
        Custom.model_validate(declared)


def test_no_such_set_says_which_there_are(declare, tmp_path):
    declare(mine={"modality": "ct"})
    with pytest.raises(PipelineError, match=r"nix: no set of that name; known are flare22, .*, and mine of"):
        find_set("nix", tmp_path)
