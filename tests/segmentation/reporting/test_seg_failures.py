"""Organs that are missed or invented are counted, and count."""

import csv
import io

import pytest

from mosaic_pipeline.segmentation.evaluation.metrics import diagonal
from mosaic_pipeline.segmentation.reporting.means import of_organs
from mosaic_pipeline.segmentation.reporting.results import load_results
from mosaic_pipeline.segmentation.reporting.results_csv import results_csv
from mosaic_pipeline.segmentation.reporting.sections.failures import failures_table, worst
from mosaic_pipeline.segmentation.reporting.sections.metrics import conventions_table, definitions, organ_table

# Of set two, 4 cases, gallbladder (organ 1): one is missed, one invented, one absent.
STATUS = {("m4oe", "two", 0, 1): "missed", ("m4oe", "two", 1, 1): "invented", ("m4oe", "two", 2, 1): "absent"}
HELD = {("dense", "two", 1, 1): "absent", ("dense", "two", 2, 1): "absent"}


@pytest.fixture
def results(inputs):
    inputs.variants, inputs.cases, inputs.status = ("m4oe", "dense"), 4, STATUS | HELD
    inputs.dsc = lambda *place: 0.6
    return load_results(inputs.variants, inputs.seeds, inputs.write())


def cells(table, *heading):
    (row,) = [row for row in table.rows if tuple(cell.text for cell in row[: len(heading)]) == heading]
    return [cell.text for cell in row[len(heading) :]]


def test_misses_and_inventions_are_counted(results):
    table = failures_table(results)
    assert table.header[2:6] == ["Predicted", "Missed", "Invented", "Absent"]
    # What is invented is half an organ of 100 ml, times 1.2 - 0.3 * 0.6.
    assert cells(table, "Set two", "m4oe") == ["5", "1", "1", "1", "51.0"]
    assert cells(table, "Set two", "dense") == ["6", "0", "0", "2", "0.0"]
    assert cells(table, "Set one", "m4oe") == ["12", "0", "0", "0", "0.0"]


def test_what_was_predicted_beside_the_organ_is_not_said_to_be_found(inputs):
    inputs.variants, inputs.cases, inputs.dsc = ("m4oe",), 1, lambda *place: 0.0
    results = load_results(inputs.variants, inputs.seeds, inputs.write())
    table = failures_table(results)
    assert cells(table, "Set one", "m4oe")[:2] == ["3", "0"]
    assert "predicted, wherever it is; missed, with nothing of it predicted" in table.caption
    for each in (conventions_table(results), organ_table(results, "one")):
        assert "in which it is and was predicted, wherever" in each.caption
        assert "found" not in each.caption


def test_seeds_are_counted_together(inputs):
    inputs.variants, inputs.cases, inputs.status, inputs.seeds = ("m4oe", "dense"), 4, STATUS | HELD, (1, 2, 3)
    results = load_results(inputs.variants, inputs.seeds, inputs.write())
    assert cells(failures_table(results), "Set two", "m4oe")[:4] == ["15", "3", "3", "3"]


def test_a_failure_is_worst_in_our_metrics_and_left_out_of_monais(results, inputs):
    farthest = diagonal(inputs.shape, inputs.spacing)
    # Of three defined cases one is a hit.
    assert of_organs(results, "m4oe", "two", "dsc")[1] == pytest.approx(0.2)
    gallbladder = cells(organ_table(results, "two"), "gallbladder")
    distance = (12 * 0.4 + 2 * farthest) / 3
    # ceiling, DSC ours and MONAI's (of hit and miss), NSD, HD95 ours, MONAI's, of hits, failures, counts.
    expected = ["85.0", "20.0", "30.0", f"{65 / 3:.1f}", f"{distance:.1f}", "4.8", "4.8", "2", "1/1/1/1"]
    assert gallbladder[:9] == expected


def test_monais_convention_stands_beside_ours_for_every_variant(results):
    table = conventions_table(results)
    ours, monai = cells(table, "Set two", "m4oe")[:2]
    assert (ours, monai) == ("40.0", "45.0")
    assert cells(table, "Set two", "dense")[:2] == ["60.0", "60.0"]
    assert cells(table, "Set two", "m4oe")[-1] == "2"


def test_what_monais_convention_does_to_each_metric_is_said():
    text = dict(definitions())["MONAI"]
    assert "In DSC it never looks worse than ours; in HD95 it can where scans differ in size" in text


def test_worst_organ_and_case_and_all_failures_are_named(results):
    first, second = worst(results)
    assert "the worst organ of m4oe is gallbladder (DSC 20.0\u00a0%)" in second
    assert "the worst case two_000 (30.0\u00a0%)" in second
    assert second.endswith("It missed gallbladder; it invented gallbladder.")
    assert first.endswith("It missed and invented nothing.")


def test_the_worst_case_is_named_over_all_seeds_and_not_of_the_last_one(inputs):
    inputs.variants, inputs.cases, inputs.seeds = ("m4oe",), 2, (1, 2)
    reached = {(1, 0): 0.1, (1, 1): 0.9, (2, 0): 0.9, (2, 1): 0.8}
    inputs.dsc = lambda variant, seed, dataset, case, organ: reached[seed, case]
    first, _ = worst(load_results(inputs.variants, inputs.seeds, inputs.write()))
    assert "the worst case one_000 (50.0\u00a0%)" in first


def test_the_csv_has_every_organ_of_every_case_and_leaves_the_undefined_empty(results):
    rows = list(csv.DictReader(io.StringIO(results_csv(results, "abc123"))))
    assert len(rows) == 2 * 4 * (3 + 2)
    (absent,) = [row for row in rows if row["variant"] == "m4oe" and row["status"] == "absent"]
    assert (absent["case"], absent["organ"], absent["dsc"], absent["hd95"]) == ("two_002", "gallbladder", "", "")
    (missed,) = [row for row in rows if row["status"] == "missed"]
    assert (missed["dsc"], missed["dsc_monai"], missed["hd95_monai"]) == ("0.0", "0.0", "")
