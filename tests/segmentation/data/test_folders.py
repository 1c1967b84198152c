"""Which files are the cases of a set, in each layout that people have."""

import json
from pathlib import Path

import pytest

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.segmentation.data.folders import find_cases, read_label_names
from mosaic_pipeline.segmentation.datasets import NAMED, custom_set


def lay(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def cases(folder: Path, dataset: str | None = None) -> dict[str, tuple[str, str]]:
    found = find_cases(folder, NAMED[dataset] if dataset else None)
    assert found.problems == ()
    return {files.case: (files.image, files.labels) for files in found.cases}


@pytest.mark.parametrize(
    ("names", "case"),
    [
        (("imagesTr/liver_1.nii.gz", "labelsTr/liver_1.nii.gz"), "liver_1"),
        (("images/a.nii", "labels/a.nii.gz"), "a"),
        (("imagesTr/FLARE22_Tr_0001_0000.nii.gz", "labelsTr/FLARE22_Tr_0001.nii.gz"), "FLARE22_Tr_0001"),
        # Not every number of four digits is a channel's.
        (("imagesTr/amos_0001.nii.gz", "labelsTr/amos_0001.nii.gz"), "amos_0001"),
        (("imagesTr/sub_0000.nii.gz", "labelsTr/sub_0000.nii.gz"), "sub_0000"),
        (("imagesVal/word_0003.nii.gz", "labelsVal/word_0003.nii.gz"), "word_0003"),
    ],
)
def test_a_scan_finds_its_label_map(tmp_path, names, case):
    assert cases(lay(tmp_path, *names)) == {case: names}


def test_training_and_validation_folders_are_one_set_and_test_scans_without_labels_are_left_out(tmp_path):
    lay(tmp_path, "imagesTr/w_1.nii.gz", "labelsTr/w_1.nii.gz", "imagesVa/w_2.nii.gz", "labelsVa/w_2.nii.gz")
    lay(tmp_path, "imagesTs/w_3.nii.gz", "imagesTr/._w_1.nii.gz", "imagesTr/notes.txt")
    assert list(cases(tmp_path)) == ["w_1", "w_2"]
    assert find_cases(tmp_path).notes == ("imagesTs has no label maps, left out",)


def test_one_case_in_two_folders_is_refused(tmp_path):
    lay(tmp_path, "imagesTr/w_1.nii.gz", "labelsTr/w_1.nii.gz", "imagesVa/w_1.nii.gz", "labelsVa/w_1.nii.gz")
    (line,) = find_cases(tmp_path).problems
    assert line.startswith("w_1: 2 images of one case, imagesTr/w_1.nii.gz, imagesVa/w_1.nii.gz")


def test_several_channels_are_several_images_of_one_case(tmp_path):
    lay(tmp_path, "imagesTr/b_1_0000.nii.gz", "imagesTr/b_1_0001.nii.gz", "labelsTr/b_1.nii.gz")
    (line,) = find_cases(tmp_path).problems
    assert line.startswith("b_1: 2 images of one case, imagesTr/b_1_0000.nii.gz, imagesTr/b_1_0001.nii.gz")


@pytest.mark.parametrize(
    ("dataset", "names", "case"),
    [
        ("atlas23", ("imagesTr/im12.nii.gz", "labelsTr/lb12.nii.gz"), "12"),
        ("btcv", ("img/img0001.nii.gz", "label/label0001.nii.gz"), "0001"),
        # The same sets as nnU-Net has them.
        ("atlas23", ("imagesTr/a_1_0000.nii.gz", "labelsTr/a_1.nii.gz"), "a_1"),
        ("btcv", ("imagesTr/b_1.nii.gz", "labelsTr/b_1.nii.gz"), "b_1"),
    ],
)
def test_a_named_set_is_read_as_its_challenge_calls_the_files(tmp_path, dataset, names, case):
    assert cases(lay(tmp_path, *names), dataset) == {case: names}


def test_of_a_named_sets_files_the_one_without_its_other_is_named(tmp_path):
    lay(tmp_path, "imagesTr/im1.nii.gz", "labelsTr/lb1.nii.gz", "imagesTr/im2.nii.gz", "labelsTr/lb3.nii.gz")
    found = find_cases(tmp_path, NAMED["atlas23"])
    assert [files.case for files in found.cases] == ["1"]
    assert [line.partition(":")[0] for line in found.problems] == ["imagesTr/im2.nii.gz", "labelsTr/lb3.nii.gz"]


def test_amos_is_two_sets_by_number(tmp_path):
    for number in (1, 410, 500, 501, 600):
        lay(tmp_path, f"imagesTr/amos_{number:04d}.nii.gz", f"labelsTr/amos_{number:04d}.nii.gz")
    assert list(cases(tmp_path, "amos22_ct")) == ["amos_0001", "amos_0410", "amos_0500"]
    assert list(cases(tmp_path, "amos22_mr")) == ["amos_0501", "amos_0600"]
    assert find_cases(tmp_path, NAMED["amos22_mr"]).notes == (
        "3 with numbers beyond 501 to 9999, another set's, left out",
    )
    lay(tmp_path, "imagesTr/amos_x.nii.gz", "labelsTr/amos_x.nii.gz", "imagesTr/amos_0002.nii.gz")
    found = find_cases(tmp_path, NAMED["amos22_ct"])
    assert [line.partition(":")[0] for line in found.problems] == [
        "imagesTr/amos_0002.nii.gz",
        "imagesTr/amos_x.nii.gz",
    ]
    assert found.problems[1].startswith("imagesTr/amos_x.nii.gz: no number at the end of its name")
    assert found.notes == ("2 with numbers beyond 1 to 500, another set's, left out",)


def test_a_folder_with_nothing_of_the_set_says_so(tmp_path):
    lay(tmp_path, "imagesTr/amos_0001.nii.gz", "labelsTr/amos_0001.nii.gz")
    with pytest.raises(PipelineError, match="no image with a label map; 1 with numbers beyond 501 to 9999"):
        find_cases(tmp_path, NAMED["amos22_mr"])


def test_a_set_of_ones_own_says_how_its_files_are_called(tmp_path):
    lay(tmp_path, "example_ct_sm.nii.gz", "example_seg.nii.gz", "scan-7-t1.nii.gz", "scan-7-t2.nii.gz", "mask-7.nii.gz")
    one = custom_set("mine", "ct", {"liver": 5}, images="example_ct_sm", labels_at="example_seg")
    (files,) = find_cases(tmp_path, one).cases
    assert (files.case, files.image, files.labels) == ("example_ct_sm", "example_ct_sm.nii.gz", "example_seg.nii.gz")
    many = custom_set("mine", "mri", {"liver": 5}, images="scan-{case}-t1", labels_at="mask-{case}")
    (files,) = find_cases(tmp_path, many).cases
    assert (files.case, files.image, files.labels) == ("7", "scan-7-t1.nii.gz", "mask-7.nii.gz")
    other = custom_set("mine", "mri", {"liver": 5}, images="scans/{case}", labels_at="masks/{case}")
    with pytest.raises(PipelineError, match="no image with a label map"):
        find_cases(tmp_path, other)


def test_a_patient_is_the_case_unless_a_file_says_whose_it_is(tmp_path):
    lay(tmp_path, *(f"{kind}/{case}.nii.gz" for kind in ("images", "labels") for case in "abc"))
    assert [files.patient for files in find_cases(tmp_path).cases] == ["a", "b", "c"]
    (tmp_path / "patients.csv").write_text("case,patient\na,one\nb,one\nc,two\n")
    assert [files.patient for files in find_cases(tmp_path).cases] == ["one", "one", "two"]


def test_cases_that_a_list_has_by_case_are_there_by_channel(tmp_path):
    lay(tmp_path, "imagesTr/b_1_0000.nii.gz", "labelsTr/b_1.nii.gz")
    listed = [{"image": "./imagesTr/b_1.nii.gz", "label": "./labelsTr/b_1.nii.gz"}]
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {}, "training": listed}))
    assert list(cases(tmp_path)) == ["b_1"]


@pytest.mark.parametrize(
    ("said", "names", "ignored"),
    [
        ({"0": "background", "1": "liver", "2": "cancer"}, {"liver": 1, "cancer": 2}, ()),
        ({"background": 0, "liver": 1, "ignore": 2}, {"liver": 1}, (2,)),
    ],
)
def test_labels_are_read_from_both_forms_of_dataset_json(tmp_path, said, names, ignored):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": said, "name": "more"}))
    assert read_label_names(tmp_path) == (names, ignored)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"labels": {"whole": [1, 2]}}', "regions of several"),
        ('{"labels": {"1": "liver", "2": "liver"}}', "liver stands there twice"),
        ('{"labels": ["liver"]}', "labels"),
        ("", "not valid JSON"),
        (None, "no such file"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(tmp_path, text, said):
    if text is not None:
        (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(PipelineError, match=rf"dataset\.json: .*{said}.*segmentation\.data\.custom"):
        read_label_names(tmp_path)
