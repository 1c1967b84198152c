import gc
import weakref

import nibabel
import numpy as np
import pytest
import torch
from torch import nn

from mosaic_pipeline.commands import segment as predict
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.segmentation import deployed
from mosaic_pipeline.segmentation.data.intensity import Intensity
from mosaic_pipeline.segmentation.data.nifti import read_image
from mosaic_pipeline.segmentation.datasets import LabelledSet
from mosaic_pipeline.segmentation.evaluation.inference import keep_largest, segment
from mosaic_pipeline.segmentation.evaluation.predictions import volumes_ml

LUMPS = LabelledSet("lumps", "Lumps", "ct", {3: "dim", 7: "bright"})
WINDOW = Intensity(window=(0.0, 200.0))
SIZE = 24


class Thresholds(nn.Module):
    """Background below -0.5, bright above 0.5, dim between: what a trained model would say of these scans."""

    def __init__(self):
        super().__init__()
        self.seen, self.alive = [], []

    def forward(self, images, dataset):
        assert (dataset, images.dtype, self.training) == ("lumps", torch.float32, False)
        self.seen.append(len(images))
        self.alive.append(sum(reference() is not None for reference in self.outputs))
        logits = torch.stack([-0.5 - images, 0.5 - images.abs(), images - 0.5], dim=1)
        self.outputs.append(weakref.ref(logits))
        return logits

    outputs: list = []  # noqa: RUF012 - cleared by each test


@pytest.fixture
def model():
    Thresholds.outputs.clear()
    return Thresholds()


def run(model, scan, **changes):
    given = {"size": SIZE, "intensity": WINDOW, "device": torch.device("cpu"), "precision": "fp32", "batch_size": 4}
    return segment(model, scan, LUMPS, **(given | changes))


def lumps(shape=(24, 20, 9)):
    """Classes of smooth bodies, and a scan in which they have 10, 100 and 190."""
    x, y, z = np.meshgrid(*(np.arange(length) for length in shape), indexing="ij")
    classes = np.zeros(shape, np.uint8)
    classes[(x - 7) ** 2 + (y - 8) ** 2 + (2 * z - 8) ** 2 < 30] = 1
    classes[(x - 17) ** 2 + (y - 11) ** 2 + (2 * z - 6) ** 2 < 40] = 2
    return classes, np.array([10, 100, 190], np.int16)[classes]


AFFINES = {
    "RAS": np.diag([1.0, 1.0, 3.0, 1]),
    "LPS": np.diag([-1.0, -1.0, 3.0, 1]),
    "LAS": np.diag([-1.0, 1.0, 3.0, 1]),
    "SPL": np.array([[0, 0, -1.0, 4], [0, -1.0, 0, 5], [3.0, 0, 0, 6], [0, 0, 0, 1]]),
}


def write_scan(path, voxels, axes="RAS", codes=(1, 2)):
    """Write what lies in RAS so that its file has other axes."""
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("RAS"), nibabel.io_orientation(AFFINES[axes])
    )
    image = nibabel.Nifti1Image(nibabel.orientations.apply_orientation(voxels, turn), AFFINES[axes])
    image.set_qform(AFFINES[axes], codes[0])
    image.set_sform(AFFINES[axes], codes[1])
    nibabel.save(image, path)
    return path


@pytest.fixture
def scan(tmp_path):
    return read_image(write_scan(tmp_path / "scan.nii.gz", lumps()[1]))


def test_what_a_model_is_right_about_is_found_where_it_is(model, scan):
    np.testing.assert_array_equal(run(model, scan), lumps()[0])


def test_slices_in_batches_are_the_scan_as_a_whole(model, scan):
    whole = run(model, scan, size=40, batch_size=100)
    assert model.seen == [9]
    for batch_size, batches in ((1, [1] * 9), (4, [4, 4, 1]), (9, [9])):
        model.seen.clear()
        np.testing.assert_array_equal(run(model, scan, size=40, batch_size=batch_size), whole)
        assert model.seen == batches


def test_logits_are_interpolated_before_the_largest_is_taken(model, tmp_path):
    x = np.broadcast_to(np.arange(96)[:, None, None], (96, 96, 2))
    scan = read_image(write_scan(tmp_path / "ramp.nii.gz", (2 * x + 1).astype(np.int16)))
    # A pixel is four voxels wide; the borders, at 50 and 150, lie within pixels.
    np.testing.assert_array_equal(run(model, scan), np.select([x < 25, x < 75], [0, 1], 2))


def test_logits_of_one_batch_are_in_memory_at_once(model, scan):
    run(model, scan, batch_size=2)
    assert len(model.seen) == 5
    assert max(model.alive) <= 1
    gc.collect()
    assert not any(reference() is not None for reference in model.outputs)


def test_a_model_in_training_is_so_again_afterwards(model, scan):
    for training in (True, False):
        run(model.train(training), scan)
        assert model.training == training
    with pytest.raises(ValueError, match="lumps has 3 classes, the model 2"):
        run(TwoClasses().train(), scan)


class TwoClasses(nn.Module):
    def forward(self, images, dataset):
        return images[:, None].expand(-1, 2, -1, -1)


def test_the_largest_piece_of_each_organ_is_kept():
    classes = np.zeros((9, 9, 9), np.uint8)
    classes[0:2, 0:2, 0:2] = 1  # touches what follows by a corner alone
    classes[2:5, 2:5, 2:5] = 1
    classes[8, 8, 8] = 3
    before = classes.copy()
    kept = keep_largest(classes)
    np.testing.assert_array_equal(classes, before)
    classes[0:2, 0:2, 0:2] = 0
    np.testing.assert_array_equal(kept, classes)


def test_segmenting_with_the_largest_piece_alone_drops_others(model, tmp_path):
    classes, voxels = lumps()
    voxels[22:24, 0:2, 7:9] = 190
    scan = read_image(write_scan(tmp_path / "scan.nii.gz", voxels))
    assert (run(model, scan)[22:24, 0:2, 7:9] == 2).all()
    np.testing.assert_array_equal(run(model, scan, largest_component=True), classes)


def predicted(monkeypatch, model, *arguments):
    known = deployed.Deployed(model, {"lumps": LUMPS}, {"lumps": WINDOW}, SIZE, "fp32")
    monkeypatch.setattr(deployed, "load_model", lambda path, device: known)
    monkeypatch.setattr("sys.argv", ["predict", "model.safetensors", *map(str, arguments)])
    predict.main()


@pytest.mark.parametrize("axes", AFFINES)
@pytest.mark.parametrize("codes", [(1, 1), (0, 2), (1, 0)])
def test_a_prediction_and_its_scan_lie_on_each_other_as_nibabel_reads_them(tmp_path, monkeypatch, model, axes, codes):
    image = write_scan(tmp_path / "scan.nii.gz", lumps()[1], axes, codes)
    predicted(monkeypatch, model, image, "--dataset", "lumps")
    scan, found = nibabel.load(image), nibabel.load(tmp_path / "scan_predicted.nii.gz")
    np.testing.assert_array_equal(found.affine, scan.affine)
    assert [int(found.header[code]) for code in ("qform_code", "sform_code")] == list(codes)
    np.testing.assert_array_equal(found.header["pixdim"], scan.header["pixdim"])
    assert (found.shape, found.get_data_dtype()) == (scan.shape, np.uint8)
    # By the file's own ids, voxel by voxel.
    ids = np.select([scan.get_fdata() == 100, scan.get_fdata() == 190], [3, 7])
    np.testing.assert_array_equal(np.asanyarray(found.dataobj), ids)


def test_predict_says_the_volume_of_each_organ(tmp_path, monkeypatch, capsys, model):
    image, out = write_scan(tmp_path / "scan.nii", lumps()[1]), tmp_path / "there/labels.nii.gz"
    predicted(monkeypatch, model, image, "--dataset", "lumps", "--out", out)
    classes = lumps()[0]
    expected = {name: (classes == c).sum() * 3 / 1000 for c, name in ((1, "dim"), (2, "bright"))}
    assert volumes_ml(classes, read_image(image), LUMPS) == pytest.approx(expected)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [*(f"{name}: {ml:.1f} ml" for name, ml in expected.items()), f"{out}: label ids of lumps"]
    assert out.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["scan.nii.gz", "--dataset", "nobody"],
            "knows no dataset nobody; --dataset is one of lumps",
        ),
        (["scan.nii.gz", "--dataset", "lumps", "--out", "a.png"], "a.png: a label map is NIfTI; call it a.png.nii.gz"),
        (["scan.nii.gz", "--dataset", "lumps", "--out", "scan.nii.gz"], "is the scan itself; say another file"),
        (["none.nii.gz", "--dataset", "lumps"], "none.nii.gz: "),
        (["scan.nii.gz"], "required: --dataset"),
    ],
)
def test_a_prediction_that_cannot_be_meant_ends_in_a_line_and_writes_nothing(
    tmp_path, monkeypatch, model, arguments, says
):
    params = predict.load_params()
    monkeypatch.setattr(predict, "load_params", lambda: params)
    monkeypatch.chdir(tmp_path)
    write_scan(tmp_path / "scan.nii.gz", lumps()[1])
    with pytest.raises(PipelineError) as error:
        predicted(monkeypatch, model, *arguments)
    assert says in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]
