"""Names in figures: apart from each other, and in order."""

import math
import re
from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from mosaic_pipeline.reporting.comparisons import compare_all
from mosaic_pipeline.reporting.figures.forest import forest_plot
from mosaic_pipeline.reporting.figures.labels import label_points
from mosaic_pipeline.reporting.figures.layers import Line, layer_plot, spread_out
from mosaic_pipeline.reporting.figures.scatter import scatter_plot
from mosaic_pipeline.reporting.means import mean_over
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sections import branch, similarity
from mosaic_pipeline.reporting.wording import MINUS, bounds, p_value, range_percent, signed, tight_range


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


def _texts(svg):
    """Words of a figure in the order drawn: ticks, labels, names."""
    return re.findall(r"<text[^>]*>([^<]+)</text>", svg)


def _load(inputs):
    run, analysed = (inputs.variants, inputs.seeds, inputs.specialists), tuple(inputs.analyses)
    return load_results(*run, root=inputs.write(), analysed=analysed)


def test_the_axis_of_layers_goes_below_zero_where_a_line_does():
    for lowest, below in ((0.0, False), (-0.4, True)):
        line = Line(np.array([0.1, lowest, math.nan]))
        figure = layer_plot({"one": line}, name="line", label="", title="", top=1.0)
        assert any(text.startswith(MINUS) for text in _texts(figure)) == below


@pytest.mark.filterwarnings("error")
def test_layers_without_height_and_lines_without_an_end_are_drawn_without_complaint():
    flat, endless = Line(np.zeros(3)), Line(np.array([0.1, math.nan]))
    assert "flat" in _texts(layer_plot({"flat": flat}, name="flat", label="", title="", top=0.0))
    figure = layer_plot({"endless": endless, "flat": flat}, name="both", label="", title="", top=1.0)
    assert "flat" in _texts(figure)
    assert "endless" not in _texts(figure)


def test_figures_side_by_side_have_one_scale(inputs):
    layers = {"mosaic": [0.1, 0.2], "shared": [0.3, 1.4]}
    inputs.analyses = {
        name: {
            "branch_ratio": dict.fromkeys(inputs.datasets, values),
            "similarity": {"specialists": ["A", "B"], "layers": [[[1, each / 2], [each / 2, 1]] for each in values]},
        }
        for name, values in layers.items()
    }
    results = _load(inputs)
    for section, highest in ((branch, 1.4), (similarity, 1.0)):
        ticks = [
            [float(text) for text in _texts(figure) if re.fullmatch(r"\d\.\d+", text)]
            for *_, figure in section.build(results)["parts"]
        ]
        assert ticks[0] == ticks[1]
        assert highest - 0.2 <= max(ticks[0]) <= highest


def test_the_line_at_zero_lies_over_the_grid_and_below_the_intervals(inputs):
    inputs.seeds = (1, 2)
    figure = forest_plot(compare_all(_load(inputs), "acc"))
    grid, zero, intervals = (
        [match.start() for match in re.finditer(stroke, figure)]
        for stroke in (r"stroke: var\(--rule\)", "stroke: currentColor; stroke-width: 0.9", "stroke-width: 1.4")
    )
    assert (len(zero), len(intervals)) == (1, 2)
    assert max(grid) < zero[0] < min(intervals)


def test_the_forest_says_its_verdicts_in_words(inputs):
    inputs.seeds = (1, 2)
    compared = compare_all(_load(inputs), "acc")
    described = re.search(r"<desc[^>]*>([^<]+)</desc>", forest_plot(compared)).group(1)
    assert [part.rpartition("), ")[2].strip(".") for part in described.split(";")] == ["too few differ"] * 2


def test_the_scatter_shows_how_far_noise_reaches(inputs):
    results = _load(inputs)
    figure = scatter_plot(results, "acc")
    assert "trainable parameters, logarithmic; band: 95 % interval of mosaic over test cases" in _texts(figure)
    described = re.search(r"<desc[^>]*>([^<]+)</desc>", figure).group(1)
    for variant in results.variants:
        interval = mean_over(results, variant, "acc", results.datasets).interval
        assert f"({range_percent(interval)})" in described
    # The band is as high as the interval, measured by the ticks of the axis.
    low, high = mean_over(results, "mosaic", "acc", results.datasets).interval
    ticks = re.findall(r'text-anchor: end[^>]* y="([\d.]+)"[^>]*>([\d.]+)<', figure)
    (top, highest), (bottom, lowest) = (tuple(map(float, ticks[place])) for place in (-1, 0))
    band = re.search(r'<path d="([^"]+)"[^>]*fill: var\(--series-2\); opacity: 0.13', figure).group(1)
    heights = [float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", band)]
    unit = (bottom - top) / (highest - lowest)
    assert max(heights) - min(heights) == pytest.approx(100 * (high - low) * unit, rel=1e-3)
