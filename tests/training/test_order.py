from collections import Counter

import pytest

from mosaic_pipeline.training.order import plan_round, steps_of_round

IMAGES = {"small": 100, "middle": 400, "large": 6400}
EPOCHS = {"small": 4, "middle": 13, "large": 200}


@pytest.mark.parametrize("order", ["registry", "interleaved"])
def test_a_round_has_a_full_epoch_of_every_dataset(order):
    steps = steps_of_round(order, None, IMAGES, EPOCHS)
    assert steps == EPOCHS
    assert Counter(plan_round(order, steps, 0, 0)) == EPOCHS


def test_visits_come_one_after_another_in_the_order_of_the_datasets():
    assert plan_round("registry", {"b": 2, "a": 3}, 0, 0) == ["b", "b", "a", "a", "a"]


def test_interleaved_steps_are_shuffled_anew_each_round_and_by_seed_alone():
    plans = [plan_round("interleaved", EPOCHS, seed, number) for seed, number in ((0, 0), (0, 1), (1, 0))]
    assert len({tuple(plan) for plan in plans}) == 3
    assert plan_round("interleaved", EPOCHS, 0, 1) == plans[1]
    # Shuffled indeed: the small dataset's steps are nowhere near each other.
    assert max(index for index, name in enumerate(plans[0]) if name == "small") > 20


def test_balanced_steps_are_proportional_to_a_power_of_the_size_and_as_many_in_all():
    # 217 steps, one for each dataset first; roots of the sizes are 10, 20 and 80.
    expected = [1 + 214 * root / 110 for root in (10, 20, 80)]
    steps = steps_of_round("balanced", 0.5, IMAGES, EPOCHS)
    assert sum(steps.values()) == 217
    assert list(steps.values()) == pytest.approx(expected, abs=1)


def test_balanced_goes_from_all_alike_to_by_size():
    assert list(steps_of_round("balanced", 0.0, IMAGES, EPOCHS).values()) in ([73, 72, 72], [72, 73, 72], [72, 72, 73])
    by_size = steps_of_round("balanced", 1.0, IMAGES, EPOCHS)
    assert by_size["large"] / by_size["middle"] == pytest.approx(16, rel=0.1)
    assert min(steps_of_round("balanced", 1.0, {"a": 1, "b": 10**6}, {"a": 1, "b": 9}).values()) == 1
