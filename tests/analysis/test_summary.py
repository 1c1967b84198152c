import math

import pytest

from mosaic_pipeline.analysis.summary import summarise


def test_own_and_other_specialists_are_averaged_apart():
    result = {
        "specialists": ["A", "B", "C"],
        "own": {"retinamnist": "A", "breastmnist": "B"},
        "acc": {"retinamnist": [0.9, 0.5, 0.3], "breastmnist": [0.8, 0.6, 0.2]},
        "auc": {},
    }
    assert summarise("counterfactual", result) == pytest.approx({"own_acc": 0.75, "other_acc": 0.45, "own_best": 0.5})


def test_different_specialists_alone_count_in_the_mean_similarity_and_undefined_ones_do_not():
    layers = [[[1, 0.2], [0.2, 1]], [[math.nan, math.nan], [math.nan, 1]]]
    assert summarise("similarity", {"specialists": ["A", "B"], "layers": layers}) == {"cka": 0.2}


def test_ratios_and_entropies_are_averaged_over_datasets_and_layers():
    by_layer = {"retinamnist": [0.1, 0.3], "breastmnist": [0.5, 0.7]}
    assert summarise("branch_ratio", by_layer) == pytest.approx({"mean": 0.4})
    assert summarise("gate", {"entropy": by_layer}) == pytest.approx({"entropy": 0.4})


def test_no_result_has_no_numbers():
    assert summarise("gate", None) == {}
