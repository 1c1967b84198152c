import csv
import io
import json
from statistics import stdev

import numpy as np
import pytest

from pipeline.reporting.means import above_constant, constant_answer, defined_interval, groups, mean_over, summary
from pipeline.reporting.records import DatasetResult
from pipeline.reporting.results import load_results
from pipeline.reporting.results_csv import results_csv

ORIGIN = {"source": "phantom", "official": False, "size": 28, "class_names": [], "raw_md5": "", "splits": {}}


def _results(inputs, values):
    """Results with ACC (and AUC, 0.1 above) by variant and dataset, a value for each seed."""
    for (variant, dataset), accuracies in values.items():
        for seed, acc in zip(inputs.seeds, accuracies, strict=True):
            inputs.metrics[variant, seed, dataset] = {"acc": acc, "auc": None if acc is None else acc + 0.1}
    inputs.write()
    return load_results(inputs.variants, inputs.seeds, root=inputs.root)


def test_a_mean_is_over_datasets_first_and_seeds_second(inputs):
    inputs.variants, inputs.seeds, inputs.datasets = ("mosaic",), (1, 2), ("pathmnist", "bloodmnist")
    results = _results(inputs, {("mosaic", "pathmnist"): (0.2, 0.5), ("mosaic", "bloodmnist"): (0.4, 0.9)})
    mean = mean_over(results, "mosaic", "acc", results.datasets)
    assert mean.value == pytest.approx(0.5)  # seeds: 0.3 and 0.7
    assert mean.std == pytest.approx(stdev([0.3, 0.7]))


def test_one_seed_has_no_spread(inputs):
    results = _results(inputs, {})
    assert mean_over(results, "mosaic", "acc", results.datasets).std is None


def test_a_dataset_undefined_for_one_variant_is_left_out_of_all_means(inputs):
    inputs.variants, inputs.datasets = ("mosaic", "shared"), ("pathmnist", "bloodmnist")
    results = _results(
        inputs,
        {
            ("mosaic", "pathmnist"): (0.2,),
            ("mosaic", "bloodmnist"): (0.4,),
            ("shared", "pathmnist"): (0.6,),
            ("shared", "bloodmnist"): (None,),
        },
    )
    assert mean_over(results, "mosaic", "acc", results.datasets).value == pytest.approx(0.2)
    assert mean_over(results, "shared", "acc", results.datasets).value == pytest.approx(0.6)


def test_an_interval_averages_seeds_row_by_row_and_then_datasets(inputs):
    inputs.variants, inputs.seeds, inputs.datasets = ("mosaic",), (1, 2), ("pathmnist", "bloodmnist")
    rows = np.linspace(0, 1, 201)
    for dataset, shift in (("pathmnist", 0.0), ("bloodmnist", 0.2)):
        # The seeds move against each other from one resample to the next: their mean moves little.
        inputs.replicates["mosaic", 1, dataset] = np.stack([rows + shift, rows], axis=1)
        inputs.replicates["mosaic", 2, dataset] = np.stack([(1 - rows) / 2 + shift, rows], axis=1)
    results = _results(inputs, {})
    assert mean_over(results, "mosaic", "acc", results.datasets).interval == pytest.approx((0.35625, 0.59375))
    assert mean_over(results, "mosaic", "auc", results.datasets).interval == pytest.approx((0.025, 0.975))


def test_resamples_without_a_value_are_left_out_unless_they_are_most():
    rows = np.concatenate([np.full(40, np.nan), np.linspace(0, 1, 101)])
    assert defined_interval(rows) == pytest.approx((0.025, 0.975))
    assert defined_interval(np.concatenate([np.full(150, np.nan), rows])) is None
    assert defined_interval(np.full(5, np.nan)) is None


@pytest.mark.parametrize("value", [0.448, 1.0])
def test_resamples_that_all_give_one_value_give_no_interval(inputs, value):
    inputs.variants, inputs.datasets = ("mosaic",), ("pathmnist", "bloodmnist")
    inputs.replicates["mosaic", 42, "pathmnist"] = np.full((200, 2), value)
    results = _results(inputs, {("mosaic", "pathmnist"): (value,)})
    assert mean_over(results, "mosaic", "acc", ("pathmnist",)).interval is None
    low, high = mean_over(results, "mosaic", "acc", results.datasets).interval
    assert low < high


@pytest.mark.parametrize(("acc", "auc", "expected"), [(0.125, 0.5, False), (0.126, 0.501, True), (None, None, None)])
def test_level_with_the_constant_answer_is_not_above_it(inputs, acc, auc, expected):
    # The most frequent of 9 classes makes 3 of 24 images.
    inputs.variants, inputs.datasets = ("mosaic",), ("pathmnist",)
    inputs.metrics["mosaic", 42, "pathmnist"] = {"acc": acc, "auc": auc}
    results = _results(inputs, {})
    assert above_constant(results, "mosaic", "acc", results.datasets) is expected
    assert above_constant(results, "mosaic", "auc", results.datasets) is expected


@pytest.mark.parametrize(
    ("confusion", "n", "expected"),
    [
        ([[1, 2], [3, 0]], 6, 0.5),
        ([[1, 1, 0], [1, 5, 0], [0, 0, 2]], 10, 0.6),
        # Two labels over four images: 3 of 4 without the first, 4 of 4 with the second.
        ([[[2, 1], [1, 0]], [[0, 0], [1, 3]]], 4, (0.75 + 1) / 2),
    ],
)
def test_the_constant_answer_gives_the_most_frequent_class(confusion, n, expected):
    result = DatasetResult(n=n, acc=0, auc=0, loss=0, confusion=confusion, data=ORIGIN)
    assert constant_answer(result) == pytest.approx(expected)


def test_groups_without_a_dataset_are_absent():
    assert groups(("retinamnist", "pathmnist")) == {
        "mean": ("retinamnist", "pathmnist"),
        "2d": ("retinamnist", "pathmnist"),
        "A": ("retinamnist", "pathmnist"),
    }


def test_the_summary_is_flat_and_of_the_main_variant(inputs):
    inputs.variants, inputs.datasets = ("mosaic", "shared"), ("retinamnist", "pathmnist", "vesselmnist3d")
    results = _results(
        inputs,
        {
            ("mosaic", "retinamnist"): (0.3,),
            ("mosaic", "pathmnist"): (0.5,),
            ("mosaic", "vesselmnist3d"): (0.7,),
            ("shared", "vesselmnist3d"): (0.1,),
        },
    )
    flat = summary(results)
    assert list(flat) == [
        *("mean_acc", "mean_auc", "acc_2d", "auc_2d", "acc_3d", "auc_3d", "acc_A", "auc_A", "acc_C", "auc_C")
    ]
    assert flat == pytest.approx(
        dict.fromkeys(("mean_acc", "mean_auc"))
        | {"mean_acc": 0.5, "mean_auc": 0.6, "acc_2d": 0.4, "auc_2d": 0.5, "acc_3d": 0.7, "auc_3d": 0.8}
        | {"acc_A": 0.4, "auc_A": 0.5, "acc_C": 0.7, "auc_C": 0.8}
    )


def test_a_group_without_a_defined_metric_is_null_in_the_summary(inputs):
    inputs.variants, inputs.datasets = ("mosaic",), ("retinamnist", "vesselmnist3d")
    inputs.metrics["mosaic", 42, "vesselmnist3d"] = {"auc": None}
    flat = summary(_results(inputs, {}))
    assert flat["auc_3d"] is None
    assert json.loads(json.dumps(flat))["auc_2d"] == flat["auc_2d"] == flat["mean_auc"]


def test_results_csv_keeps_every_digit_and_leaves_undefined_empty(inputs):
    inputs.seeds = (1, 2)
    inputs.metrics["shared", 2, "breastmnist"] = {"acc": 1 / 3, "auc": None}
    results = _results(inputs, {})
    rows = list(csv.DictReader(io.StringIO(results_csv(results))))
    assert list(rows[0]) == [
        *("variant", "seed", "dataset", "specialist", "source", "official", "n", "acc", "auc", "loss"),
        *("balanced_acc", "macro_f1", "ece", "quadratic_kappa", "mae", "acc_within_one", "map"),
        *("acc_low", "acc_high", "auc_low", "auc_high"),
    ]
    assert len(rows) == 3 * 2 * 3
    for row in rows:
        result = results.runs[row["variant"], int(row["seed"])].results[row["dataset"]]
        assert float(row["acc"]) == result.acc
        assert (float(row["auc"]) if row["auc"] else None) == result.auc
        assert float(row["acc_low"]) < result.acc < float(row["acc_high"])
        assert (row["quadratic_kappa"] == "") == (row["dataset"] != "retinamnist")
        assert (row["source"], row["official"]) == ("phantom", "no")
    assert sum(row["auc"] == "" for row in rows) == sum(row["auc_low"] == "" for row in rows) == 1
