"""Contours, marks and scale bar on slices of scans."""

import re
from dataclasses import replace

import numpy as np
import pytest

from mosaic_pipeline.segmentation.reporting.files import Overlay
from mosaic_pipeline.segmentation.reporting.overlays import BARS, contour, draw, draw_all, radiological

ORGANS = ("liver", "spleen")


def overlay(reference, prediction=None, spacing=(1.0, 1.0, 3.0), **options):
    """An overlay of classes [K,X,Y] in RAS."""
    reference = np.asarray(reference, np.uint8)
    prediction = reference if prediction is None else np.asarray(prediction, np.uint8)
    values = {"kind": "worst", "case": "c", "organ": None, "dsc": 0.5, "depth": 30, "spacing": spacing} | options
    slices = list(range(5, 5 + len(reference)))
    return Overlay(slices=slices, image=reference * 40, reference=reference, prediction=prediction, **values)


def patch(shape, box, value=1, count=1):
    classes = np.zeros((count, *shape), np.uint8)
    classes[:, box[0], box[1]] = value
    return classes


def corners(path):
    """Corners (x, y) of the one loop of a path."""
    x, y = map(int, re.match(r"M(\d+) (\d+)", path).groups())
    found = [(x, y)]
    for way, length in re.findall(r"([hv])(-?\d+)", path):
        x, y = (x + int(length), y) if way == "h" else (x, y + int(length))
        found.append((x, y))
    return found


def test_the_contour_of_a_rectangle_is_its_edge():
    mask = np.zeros((6, 8), bool)
    mask[2:5, 1:7] = True  # rows 2 to 4, columns 1 to 6
    assert contour(mask) == "M1 2h6v3h-6z"
    assert corners(contour(mask)) == [(1, 2), (7, 2), (7, 5), (1, 5)]


def test_holes_and_parts_have_contours_of_their_own_and_nothing_has_none():
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert contour(ring) == "M0 0h3v3h-3zM1 1v1h1v-1z"
    assert contour(np.eye(2, dtype=bool)) == "M0 0h1v1h-1zM1 1h1v1h-1z"
    assert contour(np.zeros((3, 3), bool)) == ""


def test_a_contour_encloses_as_many_pixels_as_the_mask_has():
    mask = np.random.default_rng(0).random((40, 40)) > 0.4
    area = 0
    for loop in re.findall(r"M[^z]*z", contour(mask)):
        points = corners(loop)
        area += sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True)) / 2
    assert area == mask.sum()


def test_the_patients_right_is_on_the_left_and_front_is_up():
    # RAS: x grows to the right, y to the front. One voxel on the right in front.
    classes = patch((10, 10), (8, 9))
    picture = radiological(classes)[0]
    assert np.argwhere(picture).tolist() == [[0, 1]]  # first row, second column


def test_marks_are_on_the_sides_that_they_name():
    shape = (60, 60)
    right = patch(shape, (slice(45, 55), slice(25, 35)), 1)
    left = patch(shape, (slice(5, 15), slice(25, 35)), 2)
    (svg,) = draw(overlay(right | left), ORGANS, "n", 320, 3).slices
    width = float(re.search(r'viewBox="0 0 (\S+)', svg).group(1))
    marks = {
        name: float(x) for x, name in re.findall(r'<text x="(\S+)" y="\S+" (?:text-anchor="end" )?[^>]*>([RL])<', svg)
    }
    assert marks["R"] < width / 10
    assert marks["L"] > 9 * width / 10
    # The liver, on the patient's right, is nearer to the R than the spleen.
    starts = {
        colour: corners(path)[0][0] for colour, path in re.findall(r'class="reference" stroke="(\S+)" d="([^"]*)"', svg)
    }
    assert starts["#c0392b"] < width / 2 < starts["#8e44ad"]


@pytest.mark.parametrize(("spacing", "length"), [((1.0, 1.0, 3.0), 10), ((0.25, 0.5, 3.0), 5), ((4.0, 2.0, 3.0), 20)])
def test_the_scale_bar_is_as_long_as_it_says_in_mm(spacing, length):
    classes = patch((60, 60), (slice(20, 41), slice(20, 41)))
    (svg,) = draw(overlay(classes, spacing=spacing), ORGANS, "n", 320, 3).slices
    # The view box is in mm: pixels and their spacing, whatever was cut off.
    width, height = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', svg).groups())
    across, down = map(float, re.search(r'transform="scale\((\S+) (\S+)\)"', svg).groups())
    path = re.search(r'class="reference" stroke="\S+" d="([^"]*)"', svg).group(1)
    wide = max(x for x, _ in corners(path)) - min(x for x, _ in corners(path))
    high = max(y for _, y in corners(path)) - min(y for _, y in corners(path))
    assert (wide * across, high * down) == (21 * spacing[0], 21 * spacing[1])
    bar, said = re.search(r'class="bar" d="M\S+ \S+h(\d+)"', svg).group(1), re.search(r">(\d+) mm<", svg).group(1)
    assert bar == said == str(length)
    assert int(bar) in BARS
    assert int(bar) <= width / 3
    assert height > 0


def test_what_was_missed_and_what_was_invented_is_said_and_drawn_apart():
    reference = patch((40, 40), (slice(10, 20), slice(10, 20)), 1)
    prediction = patch((40, 40), (slice(25, 35), slice(10, 20)), 2)
    picture = draw(overlay(reference, prediction), ORGANS, "n", 320, 3)
    assert "liver missed; spleen invented" in picture.slices[0]
    assert re.findall(r'class="(reference|prediction)"', picture.slices[0]) == ["reference", "prediction"]
    assert [name for name, _ in picture.keys] == ["liver", "spleen"]


def test_pictures_are_made_smaller_until_they_fit():
    noise = np.random.default_rng(0).integers(0, 256, (3, 300, 300)).astype(np.uint8)
    classes = patch((300, 300), (slice(10, 290), slice(10, 290)), count=3)
    large = {"one": [replace(overlay(classes, kind=kind), image=noise) for kind in ("worst", "best")]}
    organs = {"one": ORGANS}
    whole = draw_all(large, organs, budget=10**9)
    size = sum(len(part) for picture in whole["one"] for part in picture.slices)
    budget = size // 20
    small = draw_all(large, organs, budget)
    assert sum(len(part) for picture in small["one"] for part in picture.slices) <= budget
    assert [picture.heading for picture in small["one"]] == ["Worst case: c", "Best case: c"]
    assert "drawn from every" in small["one"][0].caption
    assert "drawn from every" not in whole["one"][0].caption


def test_names_of_cases_are_text():
    classes = patch((30, 30), (slice(10, 20), slice(10, 20)))
    (svg,) = draw(overlay(classes, case="<b>&x"), ORGANS, "n", 320, 3).slices
    assert "&lt;b&gt;&amp;x" in svg
    assert "<b>" not in svg
