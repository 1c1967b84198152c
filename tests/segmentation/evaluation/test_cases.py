import json
import math

import numpy as np
import pytest

from mosaic_pipeline.segmentation.evaluation.cases import case_record, summary

ORGANS = ("liver", "spleen", "lump")


def maps(*places):
    """A map of three organs, one voxel each, at these places along x; None leaves one out."""
    classes = np.zeros((10, 4, 4), np.uint8)
    for organ, place in enumerate(places, start=1):
        if place is not None:
            classes[place, 1, 1] = organ
    return classes


def cases():
    """Liver: hit, hit 2 mm off, missed. Spleen: absent, invented, hit. The lump: nowhere."""
    return [
        case_record("a", maps(2, None, None), maps(2, None, None), (1, 1, 1), ORGANS, 0.5),
        case_record("b", maps(2, None, None), maps(4, 6, None), (1, 1, 1), ORGANS, 0.5),
        case_record("c", maps(2, 8, None), maps(None, 8, None), (1, 1, 1), ORGANS, 0.5),
    ]


DIAGONAL = math.hypot(10, 4, 4)


def test_means_are_over_cases_then_organs_then_datasets():
    found = summary(cases())
    liver, spleen, lump = (found["organs"][organ] for organ in ORGANS)
    assert (liver["dsc"], spleen["dsc"], lump["dsc"]) == (pytest.approx(1 / 3), 0.5, None)
    assert liver["hd95"] == pytest.approx((0 + 2 + DIAGONAL) / 3)
    # Not over all organs of all cases at once, which is 2 / 5, nor with an organ that is nowhere.
    assert found["dsc"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found["hd95"] == pytest.approx(((2 + DIAGONAL) / 3 + DIAGONAL / 2) / 2)


def test_beside_our_convention_stand_monais_and_what_the_penalty_hides():
    found = summary(cases())
    liver, spleen = found["organs"]["liver"], found["organs"]["spleen"]
    assert liver["monai"] == {"dsc": pytest.approx(1 / 3), "nsd": pytest.approx(1 / 3), "hd95": 1.0}
    assert spleen["monai"] == {"dsc": 1.0, "nsd": 0.5, "hd95": 0.0}
    assert found["monai"]["hd95"] == 0.5
    assert (liver["hd95_median_of_hits"], spleen["hd95_median_of_hits"]) == (1.0, 0.0)
    assert liver["counts"] == {"hit": 2, "missed": 1, "invented": 0, "absent": 0}
    assert spleen["counts"] == {"hit": 1, "missed": 0, "invented": 1, "absent": 1}
    assert found["counts"] == {"hit": 3, "missed": 1, "invented": 1, "absent": 4}


def test_monais_hd95_is_worse_than_ours_where_a_small_scan_misses_what_a_large_one_hits_far_off():
    reference, prediction = np.zeros((2, 301, 1, 1), np.uint8)
    reference[0], prediction[300] = 1, 1
    far = case_record("large", reference, prediction, (1, 1, 1), ("liver",), 0.5)
    missed = case_record("small", maps(2), maps(), (1, 1, 1), ("liver",), 0.5)
    found = summary([far, missed])
    assert found["monai"]["hd95"] == 300
    assert found["hd95"] == pytest.approx((300 + DIAGONAL) / 2)
    assert found["monai"]["dsc"] >= found["dsc"]


def test_what_is_worst_is_named():
    found = summary(cases())
    assert found["worst_organ"] == {"name": "liver", "dsc": pytest.approx(1 / 3)}
    assert found["worst_case"] == {"name": "b", "dsc": 0.0}


def test_the_worst_case_of_several_trainings_is_the_one_that_is_worst_over_all_of_them():
    nowhere, there = maps(), maps(2)
    answers = [("a", nowhere), ("b", there), ("a", there), ("b", there)]
    found = summary([case_record(case, maps(2), answer, (1, 1, 1), ("liver",), 0.5) for case, answer in answers])
    assert found["worst_case"] == {"name": "a", "dsc": 0.5}


def test_errors_of_volume_are_over_the_cases_that_have_one():
    liver, spleen = (summary(cases())["organs"][organ] for organ in ORGANS[:2])
    assert (liver["volume_error_ml"], liver["volume_error_percent"]) == pytest.approx((-0.001 / 3, -100 / 3))
    assert (spleen["volume_error_ml"], spleen["volume_error_percent"]) == pytest.approx((0.001 / 2, 0))


def test_a_dataset_in_which_nothing_is_and_nothing_was_found_has_no_mean():
    found = summary([case_record("a", maps(), maps(), (1, 1, 1), ORGANS, 0.5)])
    assert [found[key] for key in ("dsc", "nsd", "hd95", "worst_organ", "worst_case")] == [None] * 5


def test_records_are_json_and_come_back_as_they_were():
    spacing = np.array([1, 0.8, 5], np.float32)
    record = case_record("a", maps(2, 3, None), maps(3, None, 5), spacing, ORGANS, {organ: 2.0 for organ in ORGANS})
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["diagonal_mm"] == pytest.approx(math.hypot(10, 3.2, 20))
    assert json.loads(json.dumps(summary([record]), allow_nan=False)) == summary([record])


def test_the_median_over_hits_is_one_and_forgets_misses():
    found = [case_record(str(n), maps(2), maps(n), (1, 1, 1), ("liver",), 0.5) for n in (2, 3, 8, None)]
    assert summary(found)["organs"]["liver"]["hd95_median_of_hits"] == 1.0
