import math

import pytest

from mosaic_pipeline.training.schedule import learning_rate


def at(step: int) -> float:
    return learning_rate(step, peak=1.0, warmup_steps=4, total_steps=12)


def test_warm_up_is_linear_in_steps_and_ends_at_the_peak():
    assert [at(step) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_cosine_follows_the_warm_up_and_ends_just_above_zero():
    for step in range(4, 12):
        assert at(step) == pytest.approx(0.5 * (1 + math.cos(math.pi * (step - 3) / 9)))
    assert 0 < at(11) < at(10) < at(4) < 1


def test_without_warm_up_the_cosine_starts_at_once():
    first = learning_rate(0, peak=1.0, warmup_steps=0, total_steps=9)
    assert first == pytest.approx(0.5 * (1 + math.cos(math.pi / 10)))
