"""Label maps in files of any orientation, sent to the grid and back: they reach the ceiling, where they were."""

import nibabel
import numpy as np
import pytest
import torch
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from mosaic_pipeline.segmentation.data.grid import Grid, ceiling, classes_from_grid, labels_to_grid, to_grid
from mosaic_pipeline.segmentation.data.nifti import read_image, read_labels, write_labels

SHAPE, SPACING, SIZE, CLASSES = (44, 33, 9), (1.5, 1.5, 4.0), 30, 4
AXES = ["RAS", "LPS", "LAS", "SPL", "ASR", "IRP"]


def _labels():
    """An organ, and a pair of which left and right differ in place alone."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    labels = np.zeros(SHAPE, np.uint8)
    labels[(x - 30) ** 2 / 90 + (y - 20) ** 2 / 70 + (z - 5) ** 2 / 12 < 1] = 1
    for label, at in ((2, 34), (3, 9)):  # to the patient's right, to the left
        labels[(x - at) ** 2 / 30 + (y - 7) ** 2 / 20 + (z - 4) ** 2 / 9 < 1] = label
    return labels


def _affine(degrees):
    turn = np.radians(degrees)
    tilt = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag(SPACING)
    affine[:3, 3] = (-31, 12, 40)
    return affine


def _store(folder, axes, degrees=0.0):
    """Write the label map as a scan and as its labels, stored along `axes`."""
    labels = _labels()
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes))
    affine = _affine(degrees) @ inv_ornt_aff(turn, SHAPE)
    paths = folder / "image.nii.gz", folder / "labels.nii.gz"
    for path, values in zip(paths, (labels.astype(np.int16) * 100, labels), strict=True):
        nibabel.save(nibabel.Nifti1Image(apply_orientation(values, turn), affine), path)
    return paths


@pytest.mark.parametrize("degrees", [0, 10])
@pytest.mark.parametrize("axes", AXES)
def test_labels_sent_through_the_grid_and_back_reach_the_ceiling(tmp_path, axes, degrees):
    image, labels = _store(tmp_path, axes, degrees)
    scan = read_image(image)
    reference = read_labels(labels, scan)
    expected = ceiling(_labels(), SPACING, SIZE, CLASSES)
    assert min(expected) > 0.95
    assert ceiling(reference, scan.spacing, SIZE, CLASSES) == pytest.approx(expected, abs=1e-6)

    shares = torch.stack([torch.from_numpy(to_grid(reference == c, scan.spacing, SIZE)) for c in range(CLASSES)], 1)
    found = classes_from_grid(shares.split(4), Grid(reference.shape, scan.spacing, SIZE))
    write_labels(tmp_path / "found.nii.gz", found, scan)
    # As another tool sees both files, without anything of ours between them.
    stored, back = (np.asanyarray(nibabel.load(path).dataobj) for path in (labels, tmp_path / "found.nii.gz"))
    for label in range(1, CLASSES):
        both = ((stored == label) & (back == label)).sum()
        assert 2 * both / ((stored == label).sum() + (back == label).sum()) > 0.93
    assert (nibabel.load(tmp_path / "found.nii.gz").affine == nibabel.load(labels).affine).all()


@pytest.mark.parametrize("axes", AXES)
def test_the_network_sees_the_same_slices_whatever_the_orientation_of_the_file(tmp_path, axes):
    image, labels = _store(tmp_path, axes)
    scan = read_image(image)
    assert (to_grid(scan.voxels, scan.spacing, SIZE) == to_grid(_labels().astype(np.int16) * 100, SPACING, SIZE)).all()
    on_grid = labels_to_grid(read_labels(labels, scan), scan.spacing, SIZE)
    right, left = ((on_grid == label).nonzero()[1].mean() for label in (2, 3))
    assert right > SIZE / 2 > left


@pytest.mark.parametrize("axes", AXES)
def test_an_organs_centre_of_mass_is_at_the_same_mm_after_the_way_there_and_back(tmp_path, axes):
    image, labels = _store(tmp_path, axes, 10)
    scan = read_image(image)
    reference = read_labels(labels, scan)
    shares = torch.stack([torch.from_numpy(to_grid(reference == c, scan.spacing, SIZE)) for c in range(CLASSES)], 1)
    write_labels(
        tmp_path / "found.nii.gz", classes_from_grid([shares], Grid(reference.shape, scan.spacing, SIZE)), scan
    )
    for label in range(1, CLASSES):
        there, back = (
            nibabel.affines.apply_affine(file.affine, np.argwhere(np.asanyarray(file.dataobj) == label)).mean(axis=0)
            for file in map(nibabel.load, (labels, tmp_path / "found.nii.gz"))
        )
        assert back == pytest.approx(there, abs=0.3)
