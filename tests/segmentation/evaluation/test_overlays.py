"""Which cases are shown does not depend on their order, and what is shown of one is what it says."""

import itertools

import numpy as np
import pytest

from mosaic_pipeline.segmentation.data.intensity import Intensity
from mosaic_pipeline.segmentation.evaluation.overlays import SLICES, choose_overlays, overlay

WINDOW = Intensity(window=(0.0, 100.0))


def case(name, **dsc):
    """Records of a case: None where an organ is absent."""
    organs = [
        {"organ": organ, "status": "absent" if value is None else "hit", "dsc": value} for organ, value in dsc.items()
    ]
    return {"case": name, "organs": organs}


CASES = (
    case("a", liver=0.9, spleen=0.1),
    case("b", liver=0.7, spleen=None),
    case("c", liver=0.2, spleen=0.3),
    case("d", liver=0.8, spleen=0.2),
)


def test_best_median_and_worst_are_by_the_mean_over_organs_that_are_not_absent():
    shown = {each["kind"]: each for each in choose_overlays(CASES)}
    assert list(shown) == ["best", "median", "worst", "hardest"]
    assert {kind: each["case"] for kind, each in shown.items()} == {
        "best": "b",
        "median": "a",
        "worst": "c",
        "hardest": "d",
    }
    assert shown["best"]["dsc"] == 0.7
    assert shown["hardest"]["organ"] == "spleen"
    assert shown["hardest"]["dsc"] == 0.2
    assert shown["worst"]["organ"] is None


def test_the_order_of_cases_changes_nothing_equal_ones_included():
    cases = (*CASES[:2], case("e", liver=0.5, spleen=0.5), case("f", liver=0.5, spleen=0.5))
    chosen = [choose_overlays(order) for order in itertools.permutations(cases)]
    assert all(each == chosen[0] for each in chosen)
    # Two organs that are as hard, of which a case lacks one.
    one, other = (
        choose_overlays(cases) for cases in itertools.permutations((case("g", spleen=0.4), case("h", liver=0.4)))
    )
    assert one == other


def test_one_case_is_all_of_them():
    assert {each["case"] for each in choose_overlays(CASES[:1])} == {"a"}


def scan():
    reference = np.zeros((6, 8, 10), np.uint8)
    reference[1:3, 2:7, 5:8] = 1
    reference[4, 1, 9] = 2
    prediction = np.zeros_like(reference)
    prediction[1:4, 2:7, 5:9] = 1
    voxels = np.arange(reference.size, dtype=np.int16).reshape(reference.shape) % 150
    return voxels, reference, prediction


def test_what_is_shown_are_contiguous_slices_of_the_scan_s_own_grid_where_most_is():
    voxels, reference, prediction = scan()
    slices, pictures = overlay(voxels, reference, prediction, WINDOW)
    assert slices == [5, 6, 7]
    for name, volume in (("reference", reference), ("prediction", prediction)):
        assert pictures[name].dtype == np.uint8
        for row, z in enumerate(slices):
            assert np.array_equal(pictures[name][row], volume[:, :, z])
    image = pictures["image"]
    assert image.shape == (SLICES, 6, 8)
    for row, z in enumerate(slices):
        assert np.array_equal(image[row], np.rint(voxels[:, :, z].clip(0, 100) * 2.55).astype(np.uint8))


@pytest.mark.parametrize("found", [True, False])
def test_of_an_organ_the_slices_are_those_that_show_it_also_where_it_was_made_up(found):
    voxels, reference, prediction = scan()
    if found:
        reference, prediction = prediction, reference
    slices, _ = overlay(voxels, reference, prediction, WINDOW, place=2)
    assert 9 in slices


@pytest.mark.parametrize(("within", "shown"), [((0, 5), [0, 1, 2]), ((4, 7), [4, 5, 6]), ((8, 10), [8, 9])])
def test_of_a_part_of_the_scan_slices_are_shown_by_the_scans_numbers(within, shown):
    voxels, reference, prediction = scan()
    slices, pictures = overlay(voxels, reference, prediction, WINDOW, within=slice(*within))
    assert slices == shown
    assert np.array_equal(pictures["prediction"], np.moveaxis(prediction[..., shown], 2, 0))


def test_an_mri_is_scaled_by_the_whole_scan_not_by_what_is_shown():
    voxels, reference, prediction = scan()
    voxels = voxels.astype(np.float32)
    voxels[..., 0] = 1e6
    intensity = Intensity(percentiles=(0.0, 100.0))
    _, pictures = overlay(voxels, reference, prediction, intensity)
    assert pictures["image"].max() == 0


def test_a_scan_of_one_slice_shows_it():
    voxels, reference, prediction = scan()
    slices, pictures = overlay(voxels[..., 5:6], reference[..., 5:6], prediction[..., 5:6], WINDOW)
    assert slices == [0]
    assert pictures["image"].shape == (1, 6, 8)
