import gzip
import json

import nibabel
import numpy as np
import pytest
from nibabel.orientations import aff2axcodes

from mosaic_pipeline.segmentation.data.folders import find_cases
from mosaic_pipeline.segmentation.data.index import build_index
from mosaic_pipeline.segmentation.data.nifti import read_image, read_labels
from mosaic_pipeline.segmentation.data.phantom import generate, write_phantoms
from mosaic_pipeline.segmentation.data.splits import read_splits
from mosaic_pipeline.segmentation.datasets import PHANTOM_SETS, LabelledSet, phantom_set

COUNTS = {"train": 2, "val": 1, "test": 1}
CT, MRI, CE_MRI = (phantom_set(name) for name in PHANTOM_SETS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw")
    for name in PHANTOM_SETS:
        write_phantoms(root / name, phantom_set(name), 24, COUNTS)
    return root


def _bytes(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_phantoms_are_the_same_bytes_every_time(folders, tmp_path):
    write_phantoms(tmp_path / "amos22_mr", MRI, 24, COUNTS)
    assert _bytes(tmp_path / "amos22_mr") == _bytes(folders / "amos22_mr")


def test_a_patient_depends_neither_on_how_many_there_are_nor_on_the_set_beside(folders, tmp_path):
    write_phantoms(tmp_path / "flare22", CT, 24, {"train": 3, "val": 2, "test": 1})
    more, fewer = _bytes(tmp_path / "flare22"), _bytes(folders / "flare22")
    scans = [name for name in fewer if name.endswith(".gz")]
    assert len(scans) == 8
    assert all(more[name] == fewer[name] for name in scans)


def test_no_two_patients_are_alike():
    scans = [generate(CT, 24, *key)[0].tobytes() for key in (("train", 0), ("train", 1), ("val", 0), ("test", 0))]
    scans.append(generate(LabelledSet("other", "", "ct", CT.labels), 24, "train", 0)[0].tobytes())
    assert len(set(scans)) == len(scans)


def test_files_hold_no_time_and_are_gzip_to_everybody(folders):
    for path in folders.rglob("*.gz"):
        content = path.read_bytes()
        assert content[4:8] == bytes(4)
        assert len(gzip.decompress(content)) > 352


@pytest.mark.parametrize("name", PHANTOM_SETS)
def test_the_folder_is_read_as_anybodys_is_and_has_the_split_that_was_asked_for(folders, name):
    folder, dataset = folders / name, phantom_set(name)
    found = find_cases(folder, dataset)
    assert found.problems == ()
    split_of = read_splits(folder / "splits.json", {files.case: files.case for files in found.cases}, name)
    assert {split: list(split_of.values()).count(split) for split in COUNTS} == COUNTS
    index = build_index(folder, dataset, lambda patients: split_of, source="phantom")
    assert [case["warnings"] for case in index["cases"]] == [[]] * 4
    listed = json.loads((folder / "dataset.json").read_text())
    assert {int(id_): organ for id_, organ in listed["labels"].items() if id_ != "0"} == dataset.labels


@pytest.mark.parametrize(
    ("name", "axes", "slice_mm"), [("flare22", "LAS", 5), ("amos22_mr", "LPS", 6), ("atlas23", "RAS", 8)]
)
def test_modalities_are_stored_in_orientations_of_their_own(folders, name, axes, slice_mm):
    for path in (folders / name).rglob("*.gz"):
        image = nibabel.load(path)
        assert "".join(aff2axcodes(image.affine)) == axes
        assert image.header.get_zooms()[2] == slice_mm


def test_what_is_read_of_an_lps_file_is_what_was_painted_in_ras(folders):
    values, classes, spacing = generate(MRI, 24, "train", 1)
    scan = read_image(folders / "amos22_mr/imagesTr/amos22_mr_train_001.nii.gz")
    assert (scan.voxels == values).all()
    assert scan.spacing == pytest.approx(spacing)
    ids = read_labels(folders / "amos22_mr/labelsTr/amos22_mr_train_001.nii.gz", scan)
    assert (MRI.to_classes(ids) == classes).all()


def _volumes(dataset, organ, patients=range(6), size=24):
    """The mm of centres of an organ's voxels along x, y, z in some patients, from the middle of the scan."""
    for number in patients:
        _, classes, spacing = generate(dataset, size, "train", number)
        place = np.argwhere(classes == 1 + dataset.organs.index(organ))
        yield (place - (np.array(classes.shape) - 1) / 2) * spacing


def test_every_organ_of_a_set_is_there_and_none_that_it_has_no_label_for():
    for dataset in (CT, MRI, CE_MRI):
        seen = set()
        for number in range(6):
            seen |= set(np.unique(generate(dataset, 48, "train", number)[1]).tolist())
        assert seen == set(range(dataset.num_classes))
    assert (CT.num_classes, MRI.num_classes, CE_MRI.num_classes) == (14, 16, 3)


def test_the_liver_is_on_the_right_and_the_spleen_on_the_left():
    for dataset in (CT, MRI):
        assert all(place[:, 0].mean() > 20 for place in _volumes(dataset, "liver"))
        assert all(place[:, 0].mean() < -20 for place in _volumes(dataset, "spleen"))
        assert all(place[:, 1].mean() < -10 for place in _volumes(dataset, "right kidney"))


@pytest.mark.parametrize("pair", ["kidney", "adrenal gland"])
def test_left_and_right_differ_in_place_alone(pair):
    values = {}
    for side, sign in (("right", 1), ("left", -1)):
        tones, voxels = [], []
        for number in range(20):
            image, classes, _ = generate(CT, 24, "train", number)
            mask = classes == 1 + CT.organs.index(f"{side} {pair}")
            tones.append(image[mask].mean()), voxels.append(mask.sum())
        assert all(sign * place[:, 0].mean() > 0 for place in _volumes(CT, f"{side} {pair}"))
        values[side] = np.mean(tones), np.mean(voxels)
    assert values["left"] == pytest.approx(values["right"], rel=0.3)


def test_a_tumour_is_liver_to_a_set_without_a_label_for_it():
    liver = LabelledSet("atlas23", "", "ce_mri", {1: "liver"})
    for number in range(4):
        image, classes, _ = generate(CE_MRI, 24, "train", number)
        same, merged, _ = generate(liver, 24, "train", number)
        assert (same == image).all()
        assert ((classes > 0) == (merged > 0)).all()


def test_some_patients_lack_a_gallbladder_or_end_above_the_pelvis():
    there = {
        organ: [len(place) > 0 for place in _volumes(MRI, organ, range(20))] for organ in ("gallbladder", "bladder")
    }
    assert 0 < there["gallbladder"].count(False) <= 8
    assert 2 <= there["bladder"].count(False) <= 12
    depths = {generate(MRI, 24, "train", number)[0].shape[2] for number in range(20)}
    assert len(depths) == 2


def test_scales_of_mri_are_arbitrary_and_those_of_ct_are_hounsfield_units():
    of_ct, of_mri = ([np.percentile(generate(d, 24, "train", n)[0], 90) for n in range(8)] for d in (CT, CE_MRI))
    assert max(of_mri) > 2 * min(of_mri)
    assert max(of_ct) - min(of_ct) < 40
    assert all(generate(CT, 24, "train", n)[0].min() < -900 for n in range(2))


def test_an_organ_that_no_phantom_has_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(KeyError, match="left atrium"):
        write_phantoms(tmp_path / "heart", LabelledSet("heart", "", "mri", {1: "left atrium"}), 24, COUNTS)
    assert list(tmp_path.iterdir()) == []
