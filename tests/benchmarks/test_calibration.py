"""What the report calls where nothing differs, in a small form of `python -m benchmarks calibration power`."""

import numpy as np
import pytest

from benchmarks.calibration import MARGIN, NULLS, claims, inside_claims, simulate
from mosaic_pipeline.reporting.comparisons import compare_all

NOTHING = (0.0, 0.0, 0.0)


@pytest.mark.parametrize("null", NULLS)
def test_sections_call_something_in_few_families_where_nothing_differs(null):
    generator = np.random.default_rng(len(null))
    found = [
        claims(simulate(generator, NULLS[null], 3, 7, 80, NOTHING)) | inside_claims(generator, 3, 7) for _ in range(60)
    ]
    # 3 expected at most; 9 is what a true 5 % exceeds in less than one of a thousand.
    assert {section: number for section in found[0] if (number := sum(each[section] for each in found)) > 9} == {}


def test_with_one_training_each_no_section_calls_anything():
    generator = np.random.default_rng(0)
    for _ in range(5):
        results = simulate(generator, NULLS["one method"], 1, 18, 200, (0.08, -0.2, 0.05))
        assert not any((claims(results) | inside_claims(generator, 1, 18)).values())


@pytest.mark.parametrize("metric", ["acc", "auc"])
def test_a_large_difference_between_methods_is_called_in_the_right_direction(metric):
    generator = np.random.default_rng(1)
    for gain, verdict in ((0.08, "higher"), (-0.08, "lower")):
        called = [
            compare_all(simulate(generator, NULLS["one method"], 5, 12, 300, (gain,), metric), metric)["shared"].verdict
            for _ in range(6)
        ]
        assert called.count(verdict) >= 5


def test_simulated_methods_differ_by_what_was_asked():
    generator, found = np.random.default_rng(2), []
    for _ in range(20):
        results = simulate(generator, NULLS["two methods, level"], 3, 18, 500, (0.04, 0.0), "auc")
        found.append([compare_all(results, "auc")[name].difference for name in ("shared", "per_dataset")])
    assert np.mean(found, axis=0) == pytest.approx([0.04, 0.0], abs=0.006)


def test_no_worse_is_rarely_said_of_what_is_worse_by_the_margin():
    generator = np.random.default_rng(3)
    said = sum(
        any(
            each.no_worse
            for each in compare_all(simulate(generator, NULLS["one method"], 3, 7, 200, (MARGIN,) * 3), "acc").values()
        )
        for _ in range(60)
    )
    assert said <= 9
