"""Scans come in turned to RAS+, and what is written for them lies on their files, voxel by voxel."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.segmentation.data.nifti import read_image, read_label_map, read_labels, write_labels

SHAPE = (5, 6, 7)


def turned(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def placed(steps: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = steps, (11.5, -20, 33)
    return affine


SPACING = np.diag([0.5, 1.5, 4.0])
AXES = {
    "RAS": placed(SPACING),
    "LPS": placed(np.diag([-1, -1, 1]) @ SPACING),
    "LAS": placed(np.diag([-1, 1, 1]) @ SPACING),
    "PIR": placed(np.array([[0, 0, 0.5], [-1.5, 0, 0], [0, -4.0, 0]])),
    "oblique": placed(turned(12) @ SPACING),
}


def save(path: Path, values: np.ndarray, affine: np.ndarray, codes: tuple[int, int] = (1, 1)) -> Path:
    image = nibabel.Nifti1Image(values, affine)
    image.set_qform(affine if codes[0] else None, codes[0])
    image.set_sform(affine if codes[1] else None, codes[1])
    nibabel.save(image, path)
    return path


def numbered(dtype: type = np.int16) -> np.ndarray:
    return np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)


@pytest.mark.parametrize("axes", AXES)
def test_a_voxel_is_where_its_file_has_it(tmp_path, axes):
    values = numbered()
    scan = read_image(save(tmp_path / "scan.nii.gz", values, AXES[axes]))
    assert scan.voxels.dtype == np.int16
    inverse = np.linalg.inv(AXES[axes])
    for index in ((0, 0, 0), (4, 2, 1), tuple(length - 1 for length in scan.voxels.shape)):
        index = tuple(min(i, n - 1) for i, n in zip(index, scan.voxels.shape, strict=True))
        stored = np.rint(inverse @ scan.affine @ [*index, 1])[:3].astype(int)
        assert scan.voxels[index] == values[tuple(stored)]
    # To the right, forwards and upwards along the axes, which are as long as the affine says.
    assert (np.diag(scan.affine)[:3] > 0).all()
    assert scan.spacing == pytest.approx((0.5, 1.5, 4.0))


@pytest.mark.parametrize("codes", [(1, 1), (0, 2), (1, 0), (0, 0), (3, 4)])
@pytest.mark.parametrize("axes", AXES)
def test_labels_come_back_to_the_bit_on_the_grid_of_the_scan(tmp_path, axes, codes):
    path = save(tmp_path / "scan.nii.gz", numbered(np.float32), AXES[axes], codes)
    scan = read_image(path)
    labels = (scan.voxels % 251).astype(np.uint8)
    write_labels(tmp_path / "labels.nii.gz", labels, scan)
    was, now = nibabel.load(path), nibabel.load(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(now.dataobj), (numbered() % 251).astype(np.uint8))
    assert now.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(now.affine, was.affine)
    for field in ("qform_code", "sform_code", "pixdim", "srow_x", "srow_y", "srow_z", "quatern_b", "xyzt_units", "dim"):
        np.testing.assert_array_equal(now.header[field], was.header[field])
    again = read_labels(tmp_path / "labels.nii.gz", scan)
    np.testing.assert_array_equal(again, labels)
    assert again.dtype == np.uint8


def test_a_label_map_may_be_stored_along_other_axes_than_its_image(tmp_path):
    scan = read_image(save(tmp_path / "scan.nii.gz", numbered(), AXES["RAS"]))
    flipped = AXES["RAS"] @ np.diag([-1, 1, 1, 1])
    flipped[:3, 3] += AXES["RAS"][:3, 0] * (SHAPE[0] - 1)
    path = save(tmp_path / "labels.nii.gz", numbered(np.uint8)[::-1], flipped)
    np.testing.assert_array_equal(read_labels(path, scan), scan.voxels)


def test_swapped_sides_are_another_scan(tmp_path):
    scan = read_image(save(tmp_path / "scan.nii.gz", numbered(), AXES["RAS"]))
    path = save(tmp_path / "labels.nii.gz", numbered(np.uint8), AXES["LAS"])
    with pytest.raises(PipelineError, match=r"labels\.nii\.gz: lies elsewhere than its image"):
        read_labels(path, scan)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_values_keep_their_type(tmp_path, dtype):
    scan = read_image(save(tmp_path / "scan.nii", numbered(dtype), AXES["LPS"]))
    assert scan.voxels.dtype == dtype


def test_scaled_values_are_float32_and_the_scale_is_not_the_labels(tmp_path):
    image = nibabel.Nifti1Image(numbered(), AXES["LAS"])
    image.header.set_slope_inter(0.5, -1024)
    image.header["cal_max"] = 300
    for name in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        image.header[name] = b"a patient"
    nibabel.save(image, tmp_path / "scan.nii.gz")
    stored = np.asanyarray(nibabel.load(tmp_path / "scan.nii.gz").dataobj)
    scan = read_image(tmp_path / "scan.nii.gz")
    assert scan.voxels.dtype == np.float32
    np.testing.assert_allclose(scan.voxels, stored[::-1], rtol=0, atol=1e-4)
    write_labels(tmp_path / "labels.nii.gz", np.full(SHAPE, 3, np.uint8), scan)
    header = gzip.decompress((tmp_path / "labels.nii.gz").read_bytes())[:348]
    slope, inter = np.frombuffer(header[112:120], "<f4")
    assert (slope, inter) in [(1, 0), (0, 0)]
    assert b"a patient" not in header
    assert (np.asanyarray(nibabel.load(tmp_path / "labels.nii.gz").dataobj) == 3).all()


def test_bytes_of_the_other_order_are_the_same_values(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.save(nibabel.Nifti1Image(numbered(), AXES["RAS"], header), tmp_path / "scan.nii.gz")
    scan = read_image(tmp_path / "scan.nii.gz")
    assert scan.voxels.dtype == np.dtype("=i2")
    assert nibabel.load(tmp_path / "scan.nii.gz").get_data_dtype() == np.dtype(">i2")
    np.testing.assert_array_equal(scan.voxels, numbered())


def test_one_volume_in_four_axes_is_one_and_its_labels_have_four(tmp_path):
    path = save(tmp_path / "scan.nii.gz", numbered()[..., None], AXES["LPS"])
    scan = read_image(path)
    assert scan.voxels.shape == SHAPE
    write_labels(tmp_path / "labels.nii.gz", np.zeros(SHAPE, np.uint8), scan)
    assert nibabel.load(tmp_path / "labels.nii.gz").shape == (*SHAPE, 1)


def test_nifti_2_stays_nifti_2(tmp_path):
    nibabel.save(nibabel.Nifti2Image(numbered(), AXES["LPS"]), tmp_path / "scan.nii.gz")
    scan = read_image(tmp_path / "scan.nii.gz")
    write_labels(tmp_path / "labels.nii.gz", scan.voxels.astype(np.uint8), scan)
    assert isinstance(nibabel.load(tmp_path / "labels.nii.gz"), nibabel.Nifti2Image)


def test_the_same_labels_are_the_same_bytes(tmp_path):
    scan = read_image(save(tmp_path / "scan.nii.gz", numbered(), AXES["LPS"]))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_labels(tmp_path / name, np.ones(SHAPE, np.uint8), scan)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_labels_that_fit_no_scan_are_not_written(tmp_path):
    scan = read_image(save(tmp_path / "scan.nii.gz", numbered(), AXES["LPS"]))
    for labels in (np.zeros((1, 2, 3), np.uint8), np.full(SHAPE, 256), np.full(SHAPE, -1), np.zeros(SHAPE)):
        with pytest.raises(ValueError, match="labels"):
            write_labels(tmp_path / "labels.nii.gz", labels, scan)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["scan.nii.gz"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_labels_as_floats_are_labels_and_worth_a_word(tmp_path, dtype):
    labels, warnings = read_label_map(save(tmp_path / "labels.nii.gz", (numbered() % 4).astype(dtype), AXES["RAS"]))
    np.testing.assert_array_equal(labels, numbered() % 4)
    assert labels.dtype == np.uint8
    assert warnings == ("labels stored as floats",)


@pytest.mark.parametrize(
    ("affine", "warning"),
    [
        (placed(turned(20) @ SPACING), "oblique, 20 degrees"),
        (placed(SPACING @ np.array([[1, 0.05, 0], [0, 1, 0], [0, 0, 1]])), "sheared"),
    ],
)
def test_axes_that_are_off_are_worth_a_word(tmp_path, affine, warning):
    (said,) = read_image(save(tmp_path / "scan.nii.gz", numbered(), affine, (0, 1))).warnings
    assert said.startswith(warning)


def test_a_little_off_is_not(tmp_path):
    assert read_image(save(tmp_path / "scan.nii.gz", numbered(), AXES["oblique"])).warnings == ()


def test_a_file_without_orientation_is_taken_as_ras_and_says_so(tmp_path):
    scan = read_image(save(tmp_path / "scan.nii.gz", numbered(), AXES["LPS"], (0, 0)))
    np.testing.assert_array_equal(scan.voxels, numbered())
    assert scan.warnings == ("no orientation in its header, taken as RAS",)
