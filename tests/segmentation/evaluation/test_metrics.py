import itertools
import math
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from mosaic_pipeline.segmentation.data.nifti import read_image, read_labels
from mosaic_pipeline.segmentation.evaluation import surfaces
from mosaic_pipeline.segmentation.evaluation.metrics import METRICS, by_monai, case_metrics, diagonal, tolerances

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # of its own, at import
    from monai import metrics as monai

pytestmark = pytest.mark.filterwarnings("ignore:monai:FutureWarning")  # of what it calls itself

SPACINGS = [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (5.0, 0.8, 0.8)]
BESIDE = Path(__file__).parents[4] / "shared/scans"
SHARED = Path(os.environ.get("MOSAIC_REAL_SCANS", BESIDE))


def of(reference, prediction, spacing=(1.0, 1.0, 1.0), nsd_mm=2.0):
    """The record of a single organ."""
    (record,) = case_metrics(reference.astype(np.uint8), prediction.astype(np.uint8), spacing, ["liver"], nsd_mm)
    return record


def box(shape, *sides):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def blob(seed, shape=(17, 20, 14)):
    """A ragged organ of several pieces; it touches the array's end."""
    return ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.5) > 0.05


def monais(reference, prediction, spacing, nsd_mm):
    """MONAI's numbers on the whole volumes."""
    y, y_pred = (torch.from_numpy(np.pad(mask, 1))[None, None] for mask in (reference, prediction))
    alone = {"include_background": True}
    hd95 = monai.compute_hausdorff_distance(y_pred, y, percentile=95, spacing=spacing, **alone)
    nsd = monai.compute_surface_dice(y_pred, y, [nsd_mm], spacing=spacing, use_subvoxels=True, **alone)
    return {"dsc": float(monai.compute_dice(y_pred, y, **alone)), "nsd": float(nsd), "hd95": float(hd95)}


def by_transform(reference, prediction, spacing, percentile=95):
    """HD95 from distance transforms of the whole volume; its end is an end of organs too."""
    masks = [np.pad(mask, 1) for mask in (reference, prediction)]
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in masks]
    there, back = (ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges)
    return max(np.percentile(there[edges[1]], percentile), np.percentile(back[edges[0]], percentile))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_two_boxes_have_the_numbers_of_a_calculation_by_hand(spacing):
    n, shift, shape = 7, 3, (20, 9, 9)
    reference, prediction = box(shape, (4, 4 + n), (1, 8), (1, 8)), box(shape, (7, 7 + n), (1, 8), (1, 8))
    x, y, z = spacing
    yz, xz, xy = y * z, x * z, x * y
    # The surface is that of the box, its edges and corners cut off: rings around x, all alike but the first and last.
    edge_x, edge_y, edge_z = (math.hypot(a, b) / 2 for a, b in ((xz, xy), (yz, xy), (yz, xz)))
    ring = 2 * (n - 1) * (xz + xy) + 4 * edge_x
    last = 2 * (n - 1) * (edge_y + edge_z) + 4 * math.hypot(yz, xz, xy) / 8
    surface = (n - 1) * ring + 2 * last + 2 * (n - 1) ** 2 * yz
    in_both = (n - shift) * ring + last
    record = of(reference, prediction, spacing, nsd_mm=0.0)
    assert (record["dsc"], record["hd95"]) == pytest.approx((8 / 14, shift * x))
    assert record["nsd"] == pytest.approx(in_both / surface)
    assert of(reference, prediction, spacing, nsd_mm=shift * x)["nsd"] == 1


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("nsd_mm", [1.0, 2.4])
def test_every_number_is_monais(spacing, nsd_mm):
    one = box((17, 20, 14), (9, 10), (0, 1), (13, 14))
    pairs = [(blob(1), blob(2)), (blob(1), blob(1) & blob(3)), (one, blob(2)), (blob(2), one), (one, one)]
    for reference, prediction in pairs:
        record = of(reference, prediction, spacing, nsd_mm)
        expected = monais(reference, prediction, spacing, nsd_mm)
        assert {metric: record[metric] for metric in METRICS} == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("spacing", [(0.5, 1.0, 3.0), (5.0, 0.8, 0.8)])
def test_the_surface_in_each_of_256_cells_is_as_large_as_monai_has_it(spacing):
    table, _ = monai.utils.get_code_to_measure_table(spacing)
    np.testing.assert_allclose(surfaces._areas(spacing), table.numpy(), rtol=1e-6)


@pytest.mark.parametrize("near", [0.0, 1.0, 2.0, 4.0, 1000.0])
def test_hd95_is_that_of_a_distance_transform_however_near_the_surfaces_are(monkeypatch, near):
    monkeypatch.setattr(surfaces, "NEAR", near)
    far = box((17, 20, 14), (0, 3), (0, 2), (0, 2)) | (blob(1) & box((17, 20, 14), (12, 17), (15, 20), (9, 14)))
    for spacing, (a, b) in itertools.product(SPACINGS, [(blob(1), blob(2)), (blob(4), far), (far, blob(4))]):
        assert of(a, b, spacing)["hd95"] == pytest.approx(by_transform(a, b, spacing), rel=1e-12)


def test_the_few_voxels_that_are_far_do_not_change_hd95(monkeypatch):
    for spacing, seed in itertools.product(SPACINGS, range(2, 6)):
        a, b = blob(1), blob(seed)
        expected = by_transform(a, b, spacing)
        for percentile in (95, 95.5, 97, 99):
            monkeypatch.setattr(surfaces, "NEAR", by_transform(a, b, spacing, percentile))
            assert of(a, b, spacing)["hd95"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.skipif(not SHARED.exists(), reason=f"no {SHARED}, and MOSAIC_REAL_SCANS names no other")
def test_two_label_maps_of_a_real_scan_differ_by_what_monai_and_a_distance_transform_say():
    folder = SHARED / "totalseg_ct"
    image = read_image(folder / "example_ct_sm.nii.gz")
    maps = [read_labels(folder / name, image) for name in ("example_seg.nii.gz", "example_seg_fast.nii.gz")]
    ids = [2, 5, 7, 10]
    a, b = (sum((labels == id_) * np.uint8(c) for c, id_ in enumerate(ids, start=1)) for labels in maps)
    records = case_metrics(a, b, image.spacing, [str(id_) for id_ in ids], 3.0)
    for c, record in enumerate(records, start=1):
        expected = monais(a == c, b == c, image.spacing, 3.0)
        assert {metric: record[metric] for metric in METRICS} == pytest.approx(expected, rel=2e-6)
        assert record["hd95"] == pytest.approx(by_transform(a == c, b == c, image.spacing))
    # Other definitions: 4.243 if both directions are pooled, 0.938 if surface voxels are counted.
    pancreas = records[ids.index(7)]
    assert (round(pancreas["hd95"], 3), round(pancreas["nsd"], 3)) == (5.196, 0.962)


EMPTY = np.zeros((8, 8, 8), bool)
HERE = box((8, 8, 8), (2, 5), (2, 5), (2, 5))
ELSEWHERE = box((8, 8, 8), (6, 8), (6, 8), (6, 8))


@pytest.mark.parametrize(
    ("reference", "prediction", "status", "scores"),
    [
        (HERE, EMPTY, "missed", (0, 0, math.hypot(16, 8, 8))),
        (EMPTY, HERE, "invented", (0, 0, math.hypot(16, 8, 8))),
        (EMPTY, EMPTY, "absent", (None, None, None)),
        (HERE, HERE, "hit", (1, 1, 0)),
    ],
)
def test_masks_without_a_voxel_have_rules_of_their_own(reference, prediction, status, scores):
    record = of(reference, prediction, (2, 1, 1))
    assert record["status"] == status
    assert tuple(record[metric] for metric in METRICS) == pytest.approx(scores)


def test_monais_convention_is_what_its_metrics_average():
    pairs = [(HERE, np.roll(HERE, 1)), (HERE, EMPTY), (EMPTY, HERE), (EMPTY, EMPTY)]
    records = [of(*pair) for pair in pairs]
    assert len({record["status"] for record in records}) == 4
    dice = monai.DiceMetric(include_background=True)
    nsd = monai.SurfaceDiceMetric([2.0], include_background=True, use_subvoxels=True)
    hd95 = monai.HausdorffDistanceMetric(include_background=True, percentile=95)
    for name, metric in zip(METRICS, (dice, nsd, hd95), strict=True):
        for reference, prediction in pairs:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of masks without a voxel
                metric(*(torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference)))
        values = metric.get_buffer().flatten()
        # Its mean leaves out what is no number, as are these distances.
        assert not torch.isinf(values).any()
        kept = [value for record in records if (value := by_monai(record)[name]) is not None]
        assert kept == pytest.approx(values[~torch.isnan(values)].tolist())


def test_a_model_that_predicts_nothing_is_worst_in_every_metric():
    shape = (8, 8, 8)
    corner, opposite = box(shape, (0, 1), (0, 1), (0, 1)), box(shape, (7, 8), (7, 8), (7, 8))
    nothing, all_wrong = of(corner, EMPTY, (2, 1, 1)), of(corner, opposite, (2, 1, 1))
    assert (nothing["dsc"], nothing["nsd"]) == (all_wrong["dsc"], all_wrong["nsd"]) == (0, 0)
    assert nothing["hd95"] > all_wrong["hd95"] > 0
    assert nothing["volume_error_percent"] == -100


def test_a_model_that_predicts_one_organ_everywhere_misses_the_others_and_is_far_off():
    reference = np.zeros((30, 30, 30), np.uint8)
    reference[2:5, 2:5, 2:5], reference[20:23, 20:23, 20:23] = 1, 2
    first, second = case_metrics(reference, np.ones_like(reference), (1, 1, 1), ["liver", "spleen"], 2.0)
    assert (first["status"], second["status"]) == ("hit", "missed")
    assert first["dsc"] == pytest.approx(2 * 27 / (27 + 30**3))
    assert first["hd95"] == pytest.approx(by_transform(reference == 1, np.ones((30, 30, 30), bool), (1, 1, 1)))
    assert first["volume_error_ml"] == pytest.approx((30**3 - 27) / 1000)


def test_whole_numbers_beside_fractions_are_spacings_like_others():
    mixed, floats = of(blob(1), blob(2), (5, 0.8, 0.8)), of(blob(1), blob(2), (5.0, 0.8, 0.8))
    assert mixed == floats
    of_header = of(blob(1), blob(2), np.array([5, 0.8, 0.8], np.float32))
    assert of_header["hd95"] == pytest.approx(floats["hd95"])


def test_numbers_depend_neither_on_the_order_of_axes_nor_on_how_maps_lie_in_memory():
    a, b, spacing = blob(1), blob(2), (5.0, 0.8, 1.7)
    for order in itertools.permutations(range(3)):
        turned = of(np.asfortranarray(a.transpose(order)), b.transpose(order), [spacing[axis] for axis in order])
        assert turned == pytest.approx(of(a, b, spacing))


def test_volumes_are_in_millilitres_and_their_error_in_percent_of_the_reference():
    shape = (8, 8, 8)
    record = of(box(shape, (0, 2), (0, 5), (0, 5)), box(shape, (0, 3), (0, 5), (0, 5)), (5, 0.5, 0.8))
    volumes = [record[f"volume_{name}"] for name in ("ref_ml", "pred_ml", "error_ml", "error_percent")]
    assert volumes == pytest.approx([0.1, 0.15, 0.05, 50])
    invented = of(EMPTY, HERE)
    assert (invented["volume_error_ml"], invented["volume_error_percent"]) == (0.027, None)


def test_each_organ_has_the_tolerance_that_it_is_given():
    maps = HERE.astype(np.uint8) + 2 * ELSEWHERE.astype(np.uint8)
    moved = np.roll(maps, 1, axis=1)
    given = tolerances(["liver", "lump"], 0.25)
    assert given == {"liver": 5.0, "lump": 0.25}
    liver, lump = case_metrics(maps, moved, (1, 1, 1), ["liver", "lump"], given)
    assert (liver["nsd_mm"], liver["nsd"], lump["nsd_mm"]) == (5.0, 1.0, 0.25)
    assert lump["nsd"] == case_metrics(maps, moved, (1, 1, 1), ["liver", "lump"], 0.25)[1]["nsd"] < 1


def test_maps_that_cannot_be_meant_are_refused():
    one = HERE.astype(np.uint8)
    with pytest.raises(ValueError, match=r"a prediction \[8, 8, 7\] for a reference \[8, 8, 8\]"):
        case_metrics(one, one[..., :7], (1, 1, 1), ["liver"], 2.0)
    with pytest.raises(ValueError, match="the prediction holds class 2, and there are 1 organs"):
        case_metrics(one, 2 * one, (1, 1, 1), ["liver"], 2.0)


def test_the_diagonal_is_in_mm():
    assert diagonal((3, 4, 12), (1, 1, 1)) == 13
    assert diagonal((3, 2, 3), (1, 2, 4)) == 13
