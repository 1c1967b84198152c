"""What a specialist's page says of each dataset."""

import re

import numpy as np
import pytest

from mosaic_pipeline.reporting.cards import build_card
from mosaic_pipeline.reporting.means import model_interval
from mosaic_pipeline.reporting.page import render_specialists
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.wording import range_percent


def _card(inputs, name):
    return build_card(_results(inputs, name), name)


def _results(inputs, *names):
    inputs.variants, inputs.datasets = ("mosaic",), names
    return load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.write())


def test_cases_are_numbered_and_called_phantoms_where_they_are(inputs):
    card = _card(inputs, "breastmnist")
    assert card.hardest[1].alt.startswith("BreastMNIST, hardest case 2: phantom test image; actual class ")
    assert card.cases[3].alt.startswith("BreastMNIST, case 4: phantom test image; actual class ")


def test_real_images_are_not_called_phantoms(inputs):
    inputs.source, inputs.official = "zenodo", True
    card = _card(inputs, "adrenalmnist3d")
    assert card.cases[0].alt.startswith("AdrenalMNIST3D, case 1: test volume, three middle slices; actual class ")


@pytest.mark.parametrize(
    ("name", "shown"), [("organamnist", " (4 of 11 classes)"), ("breastmnist", ""), ("chestmnist", "")]
)
def test_the_heading_says_how_many_classes_the_cases_are_of(inputs, name, shown):
    pages = render_specialists(_results(inputs, name), "abc")
    assert f"<h3>Cases by class{shown}</h3>" in pages["B"]


def test_a_dataset_s_metrics_come_with_their_intervals(inputs):
    cases = 0.7 + 0.1 * np.linspace(-1, 1, 24)
    inputs.metrics["mosaic", 42, "breastmnist"] = {"acc": 0.7, "auc": None}
    inputs.contributions["mosaic", 42, "breastmnist"] = np.stack([cases, np.full(24, np.nan)], axis=1)
    facts = _card(inputs, "breastmnist").facts.replace("\u00a0", " ")
    assert f"ACC 70.0 % ({range_percent(model_interval('acc', 0.7, cases))}) · AUC undefined · F1" in facts


@pytest.mark.parametrize(("name", "noun"), [("chestmnist", "answers"), ("breastmnist", "cases")])
def test_curves_and_bins_say_what_they_count(inputs, name, noun):
    captions, figures = zip(*_card(inputs, name).figures, strict=True)
    assert captions[0] == "Validation, 16 images: ACC solid, AUC dashed."
    assert captions[2].endswith(f"Larger points hold more {noun}.")
    assert f">{noun}</text>" in figures[2]
    assert f"right 50 % of 3 {noun};" in figures[2]


def test_points_of_a_reliability_diagram_are_as_large_as_their_bins(inputs):
    results = _results(inputs, "breastmnist")
    result = results.main_run.results["breastmnist"]
    result.reliability[-2:] = [(4, 0.9, 0.8), (64, 0.97, 0.9)]
    figure = build_card(results, "breastmnist").figures[2][1]
    circles = re.findall(r'd="(M [^"]*C [^"]*)"[^>]*fill: var\(--series-1\)', figure)
    corners = [[float(x) for x in re.findall(r"(-?[\d.]+) -?[\d.]+", circle)] for circle in circles]
    *_, fourth, last = (max(each) - min(each) for each in corners)
    assert last / fourth == pytest.approx(4, rel=0.01)


def test_slices_of_volumes_are_explained_in_sight(inputs):
    pages = render_specialists(_results(inputs, "adrenalmnist3d", "breastmnist"), "abc")
    assert "three middle slices, one across each axis.</p>" in pages["C"]
    assert "middle slices" not in pages["B"]
