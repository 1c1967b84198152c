"""Names in figures: apart from each other, and in order."""

from itertools import combinations, pairwise

import pytest
from matplotlib.figure import Figure

from pipeline.reporting.figures.labels import label_points
from pipeline.reporting.figures.layers import spread_out
from pipeline.reporting.wording import MINUS, bounds, p_value, signed, tight_range


def test_names_of_points_that_crowd_cover_neither_each_other_nor_leave_the_axes():
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 10)
    points = [(f"variant_{index}", 5 + 0.01 * (index % 3), 5 + 0.12 * index) for index in range(17)]
    points += [("at the right edge", 9.9, 3), ("at the top", 2, 9.99)]
    label_points(axes, points, "black")
    boxes = [text.get_window_extent() for text in axes.texts]
    assert sorted(text.get_text() for text in axes.texts) == sorted(name for name, _, _ in points)
    frame = axes.get_window_extent()
    # A pixel of slack: texts are set on whole pixels.
    shrunk = [box.padded(-1) for box in boxes]
    assert not [pair for pair in combinations(shrunk, 2) if pair[0].overlaps(pair[1])]
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 <= box.y1 <= frame.y1 for box in shrunk)


def test_names_at_the_ends_of_lines_keep_their_order_and_a_gap():
    places = spread_out([0.5, 0.1, 0.52, 0.5], gap=0.1)
    order = sorted(range(4), key=places.__getitem__)
    assert order == [1, 0, 3, 2]
    assert all(later - earlier >= 0.1 - 1e-9 for earlier, later in pairwise(sorted(places)))
    assert spread_out([0.2, 0.9], gap=0.1) == pytest.approx([0.2, 0.9])


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.0214, "+2.1"), (-0.0214, f"{MINUS}2.1"), (0.0, "0.0"), (-0.0001, "0.0"), (None, "undefined")],
)
def test_a_difference_is_in_points_with_its_sign(fraction, text):
    assert signed(fraction) == text


def test_an_interval_does_not_lose_its_side_by_rounding():
    assert bounds((0.0002, 0.011)) == "+0.02 to +1.1"
    assert bounds((-0.011, -0.0002)) == f"{MINUS}1.1 to {MINUS}0.02"
    assert bounds((0.0, 0.0)) == "0.0 to 0.0"
    assert bounds(None) == "undefined"
    assert tight_range((0.418, 0.5)) == "41.8\N{EN DASH}50.0"


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0004, "< 0.001"), (0.0341, "= 0.034"), (0.0496, "= 0.0496"), (0.2, "= 0.200"), (float("nan"), "undefined")],
)
def test_a_p_value_is_not_rounded_onto_its_threshold(p, text):
    assert p_value(p) == text
