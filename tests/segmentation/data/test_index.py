"""The index says what there is, and refuses a scan that is in two places."""

import json
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.segmentation.data.index import (
    Index,
    build_index,
    read_index,
    refuse_shared,
    voxel_digest,
    write_index,
)
from mosaic_pipeline.segmentation.data.splits import draw_splits
from mosaic_pipeline.segmentation.datasets import NAMED

SHAPE = (4, 5, 6)
LPS = np.diag([-2.0, -2.0, 5.0, 1.0])
DRAW = partial(draw_splits, test=0.25, val=0.25, seed=0, name="msd_liver")


def scan(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(-1000, 1000, SHAPE).astype(np.int16)


def save(path: Path, values: np.ndarray, affine: np.ndarray = LPS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def make_set(folder: Path, numbers: tuple[int, ...] = (0, 1, 2, 3)) -> Path:
    for number in numbers:
        labels = np.zeros(SHAPE, np.uint8)
        labels[0, 0, : number + 1], labels[1, 1, 1] = 1, 2 if number else 0
        save(folder / f"images/case_{number}.nii.gz", scan(number))
        save(folder / f"labels/case_{number}.nii.gz", labels)
    return folder


def build(folder: Path, name: str = "msd_liver", split: object = DRAW, **more: object) -> dict:
    return build_index(folder, NAMED[name], split, source="folder", **more)


def test_a_record_says_what_later_stages_need(tmp_path):
    index = build(make_set(tmp_path))
    assert (index["dataset"], index["source"], index["form"]) == ("msd_liver", "folder", NAMED["msd_liver"].form())
    record = index["cases"][1]
    assert record == {
        "case": "case_1",
        "patient": "case_1",
        "image": "images/case_1.nii.gz",
        "labels": "labels/case_1.nii.gz",
        "md5": {key: md5_file(tmp_path / record[key]) for key in ("image", "labels")},
        "digest": voxel_digest(scan(1)[::-1, ::-1]),
        "shape": [4, 5, 6],
        "spacing": [2.0, 2.0, 5.0],
        "axes": "LPS",
        "voxels": {"liver": 2, "liver tumour": 1},
        "split": record["split"],
        "warnings": [],
    }
    assert index["cases"][0]["voxels"] == {"liver": 1, "liver tumour": 0}
    assert sorted(case["split"] for case in index["cases"]) == ["test", "train", "train", "val"]


def test_an_index_comes_back_and_is_the_same_bytes(tmp_path):
    index = build(make_set(tmp_path / "set"))
    for name in ("a", "b"):
        write_index(tmp_path / name / "msd_liver.json", index)
    assert (tmp_path / "a/msd_liver.json").read_bytes() == (tmp_path / "b/msd_liver.json").read_bytes()
    read = read_index(tmp_path / "a/msd_liver.json")
    assert json.loads(read.model_dump_json(exclude_none=True)) == index
    assert read.labelled_set.labels == NAMED["msd_liver"].labels
    assert [place for place, case in read.of_split("train")] == [
        place for place, case in enumerate(index["cases"]) if case["split"] == "train"
    ]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda index: index | {"dataset": "btcv"},
        lambda index: index | {"form": {"name": "msd_liver"}},
        lambda index: index | {"cases": index["cases"] * 2},
        lambda index: index | {"cases": [index["cases"][0] | {"split": "training"}]},
        lambda index: {key: value for key, value in index.items() if key != "findings"},
    ],
)
def test_a_damaged_index_is_refused(tmp_path, spoil):
    file = tmp_path / "msd_liver.json"
    file.write_text(json.dumps(spoil(build(make_set(tmp_path / "set")))))
    with pytest.raises(PipelineError, match=r"msd_liver\.json: "):
        read_index(file)


def test_a_digest_is_of_the_scan_and_not_of_how_it_is_stored():
    values = scan(0)
    assert voxel_digest(values) == voxel_digest(np.asfortranarray(values.astype(np.float32)))
    assert voxel_digest(values) != voxel_digest(values[::-1])
    assert voxel_digest(values) != voxel_digest(values.reshape(5, 4, 6))


def copied(folder: Path) -> None:
    """The fourth case is the first one's scan, stored along other axes, in another type, with another label map."""
    save(folder / "images/case_3.nii.gz", scan(0)[::-1, ::-1].astype(np.float32), np.diag([2.0, 2.0, 5.0, 1.0]))
    save(folder / "labels/case_3.nii.gz", np.ones(SHAPE, np.uint8), np.diag([2.0, 2.0, 5.0, 1.0]))


def test_one_scan_in_two_splits_is_refused(tmp_path):
    copied(make_set(tmp_path))
    splits = {"case_0": "train", "case_1": "val", "case_2": "test", "case_3": "test"}
    with pytest.raises(PipelineError, match=r"msd_liver: case_0 \(train\) and case_3 \(test\) are the same scan"):
        build(tmp_path, split=lambda patients: splits)
    assert build(tmp_path, split=lambda patients: splits | {"case_3": "train"})["findings"] == [
        "case_0, case_3: the same scan."
    ]


def test_one_scan_in_two_sets_is_refused(tmp_path):
    liver = Index.model_validate(build(make_set(tmp_path / "a")))
    vessel = build(make_set(tmp_path / "b", (3, 4, 5, 6)), "msd_hepatic_vessel")
    with pytest.raises(PipelineError, match=r"msd_liver \(case_3\) and msd_hepatic_vessel \(case_3\) have the same"):
        refuse_shared([liver, Index.model_validate(vessel)])
    apart = build(make_set(tmp_path / "c", (7, 8, 9, 10)), "msd_hepatic_vessel")
    refuse_shared([liver, Index.model_validate(apart)])


def test_a_limit_takes_the_same_cases_and_reads_no_other(tmp_path):
    make_set(tmp_path)
    seen = []
    index = build(tmp_path, case_limit=3, progress=lambda cases: seen.extend(cases) or cases)
    assert [case["case"] for case in index["cases"]] == sorted(files.case for files in seen)
    assert len(seen) == 3
    again = build(tmp_path, case_limit=3)
    assert again == index


def test_a_limit_leaves_each_case_in_its_split_and_each_split_its_share(tmp_path):
    make_set(tmp_path, range(10))
    splits = {f"case_{i}": split for i, split in enumerate(["train"] * 6 + ["val"] * 2 + ["test"] * 2)}
    for limit, counts in ((3, (1, 1, 1)), (5, (3, 1, 1)), (8, (4, 2, 2)), (10, (6, 2, 2))):
        cases = build(tmp_path, split=lambda patients: splits, case_limit=limit)["cases"]
        assert all(case["split"] == splits[case["case"]] for case in cases)
        assert tuple(sum(case["split"] == split for case in cases) for split in ("train", "val", "test")) == counts
    with pytest.raises(PipelineError, match="case_limit 2 leaves a split empty; 3 at least"):
        build(tmp_path, split=lambda patients: splits, case_limit=2)


def test_what_is_odd_is_said_once_for_all_cases_that_have_it(tmp_path):
    make_set(tmp_path)
    for number in (1, 2):
        save(tmp_path / f"labels/case_{number}.nii.gz", np.ones(SHAPE, np.float32))
    save(tmp_path / "images/case_3.nii.gz", scan(3), np.diag([2000.0, 2000.0, 5000.0, 1.0]))
    save(tmp_path / "labels/case_3.nii.gz", np.ones(SHAPE, np.uint8), np.diag([2000.0, 2000.0, 5000.0, 1.0]))
    index = build(tmp_path)
    assert index["findings"] == [
        "case_1, case_2: labels stored as floats.",
        "case_3: voxels of 2e+03 x 2e+03 x 5e+03 mm, if its header means mm.",
    ]
    assert index["cases"][1]["warnings"] == ["labels stored as floats"]


def test_an_index_that_could_not_be_read_is_not_written(tmp_path):
    index = build(make_set(tmp_path / "set"))
    with pytest.raises(ValueError, match="split"):
        write_index(tmp_path / "msd_liver.json", index | {"cases": [index["cases"][0] | {"split": "x"}]})
    assert not (tmp_path / "msd_liver.json").exists()
