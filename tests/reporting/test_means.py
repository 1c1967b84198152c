import csv
import io
import json
import math
from statistics import stdev

import numpy as np
import pytest
from scipy import special, stats

from mosaic_pipeline.reporting.means import above_constant, constant_answer, groups, mean_over, model_interval, summary
from mosaic_pipeline.reporting.records import DatasetResult
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.results_csv import results_csv

SPLITS = {split: {"n": 6, "of": 6} for split in ("train", "val", "test")}
ORIGIN = {
    "form": {},
    "title": "any",
    "specialist": "A",
    "licence": "any",
    "source": "phantom",
    "official": False,
    "size": 28,
    "class_names": [],
    "raw_md5": "0" * 32,
    "splits": SPLITS,
}


def _results(inputs, values):
    """Results with ACC (and AUC, 0.1 above) by variant and dataset, a value for each seed."""
    for (variant, dataset), accuracies in values.items():
        for seed, acc in zip(inputs.seeds, accuracies, strict=True):
            inputs.metrics[variant, seed, dataset] = {"acc": acc, "auc": None if acc is None else min(1.0, acc + 0.1)}
    inputs.write()
    return load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root)


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


def test_with_one_training_the_interval_is_over_cases_alone(inputs):
    inputs.variants, inputs.datasets = ("mosaic",), ("pathmnist", "bloodmnist")
    cases = np.linspace(-0.3, 0.3, 24)
    for dataset in inputs.datasets:
        inputs.contributions["mosaic", 42, dataset] = np.stack([0.5 + cases, 0.6 + cases], axis=1)
    results = _results(inputs, {("mosaic", dataset): (0.5,) for dataset in inputs.datasets})
    # Two independent sets: half the variance of one.
    reach = 1.959964 * cases.std(ddof=1) / np.sqrt(24) / np.sqrt(2)
    low, high = mean_over(results, "mosaic", "acc", results.datasets).interval
    assert (low + high) / 2 == pytest.approx(0.5)
    assert special.logit(high) == pytest.approx(reach / 0.25, rel=1e-5)


def test_with_several_trainings_the_interval_is_over_them_as_well(inputs):
    inputs.variants, inputs.seeds, inputs.datasets = ("mosaic",), (1, 2, 3), ("pathmnist", "bloodmnist")
    values = (0.50, 0.53, 0.56)
    results = _results(inputs, {("mosaic", dataset): values for dataset in inputs.datasets})
    over_trainings = 4.302653 * 0.03 / np.sqrt(3)
    low, high = special.logit(mean_over(results, "mosaic", "acc", results.datasets).interval)
    covariance = sum(results.covariance(("mosaic",), name, "acc")[0, 0, 0, 1] for name in results.datasets) / 4
    reach = np.hypot(over_trainings, 1.959964 * np.sqrt(covariance))
    assert reach > over_trainings
    assert (low + high) / 2 == pytest.approx(special.logit(0.53))
    assert (high - low) / 2 == pytest.approx(reach / (0.53 * 0.47), rel=1e-5)


def test_an_interval_of_a_mean_stays_within_0_and_1(inputs):
    inputs.variants, inputs.seeds = ("mosaic",), (1, 2)
    results = _results(inputs, {("mosaic", dataset): (0.97, 0.99) for dataset in inputs.datasets})
    low, high = mean_over(results, "mosaic", "acc", results.datasets).interval
    assert 0 < low < 0.98 < high < 1


def test_an_accuracy_of_one_dataset_has_wilson_s_interval_also_where_all_answers_are_right():
    low, high = model_interval("acc", 1.0, np.ones(30))
    assert high == 1.0
    assert 0.85 < low < 0.9
    right = np.arange(40) < 30
    expected = stats.binomtest(30, 40).proportion_ci(0.95, method="wilson")
    assert model_interval("acc", 0.75, right.astype(float)) == pytest.approx((expected.low, expected.high))


def test_an_auc_that_no_case_varies_has_no_interval():
    assert model_interval("auc", 1.0, np.ones(30)) is None
    assert model_interval("auc", 0.5, np.full(30, 0.5)) is None
    low, high = model_interval("auc", 0.9, 0.9 + np.linspace(-0.1, 0.1, 30))
    assert 0.9 - low > high - 0.9


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


def test_groups_without_a_dataset_are_absent(inputs):
    inputs.variants, inputs.datasets = ("mosaic",), ("retinamnist", "pathmnist")
    assert groups(_results(inputs, {})) == {
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
        *("val_score", "val_acc", "val_auc"),
        *("mean_acc", "mean_auc", "acc_2d", "auc_2d", "acc_3d", "auc_3d", "acc_A", "auc_A", "acc_C", "auc_C"),
    ]
    validated = {key: flat.pop(key) for key in ("val_score", "val_acc", "val_auc")}
    training, history = results.main_run.training, results.main_run.history
    assert validated["val_acc"] == history[f"{training.deployed}_acc"][training.best_round - 1]
    assert len(set(validated.values())) == 3
    assert flat == pytest.approx(
        dict.fromkeys(("mean_acc", "mean_auc"))
        | {"mean_acc": 0.5, "mean_auc": 0.6, "acc_2d": 0.4, "auc_2d": 0.5, "acc_3d": 0.7, "auc_3d": 0.8}
        | {"acc_A": 0.4, "auc_A": 0.5, "acc_C": 0.7, "auc_C": 0.8}
    )


def test_what_one_chooses_by_is_the_deployed_round_s_mean_over_seeds(inputs):
    inputs.variants, inputs.seeds = ("mosaic",), (1, 2)
    results = _results(inputs, {})
    for place, run in enumerate(results.runs.values()):
        run.history["student_score"][:] = [0.1, 0.2, 0.6 + 0.2 * place]
        run.history["student_auc"][:] = [0.1, 0.2, math.nan]
    flat = summary(results)
    assert flat["val_score"] == pytest.approx(0.7)
    assert flat["val_auc"] is None


def test_with_a_round_for_each_dataset_one_chooses_by_the_datasets_own_rounds(inputs):
    inputs.variants, inputs.datasets = ("mosaic",), ("pathmnist", "bloodmnist")
    path = inputs.write() / "runs/mosaic/42/train.json"
    own = {"pathmnist": ("student", 1), "bloodmnist": ("teacher", 3)}
    rounds = {name: {"round": number, "deployed": which, "score": 0.6} for name, (which, number) in own.items()}
    tree = json.loads(path.read_text()) | {"deployed": "composed", "best_round": None, "best_rounds": rounds}
    path.write_text(json.dumps(tree))
    results = load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root)
    history = results.main_run.history
    flat = summary(results)
    assert flat["val_score"] == tree["score"]
    expected = [history[f"{name}/{which}_acc"][number - 1] for name, (which, number) in own.items()]
    assert flat["val_acc"] == pytest.approx(sum(expected) / 2)


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
    rows = list(csv.DictReader(io.StringIO(results_csv(results, "abc123"))))
    assert list(rows[0]) == [
        *("variant", "seed", "dataset", "specialist", "source", "official", "n", "acc", "auc", "loss"),
        *("balanced_acc", "macro_f1", "ece", "brier", "temperature", "loss_scaled", "ece_scaled", "brier_scaled"),
        *("quadratic_kappa", "mae", "acc_within_one", "map"),
        *("acc_low", "acc_high", "auc_low", "auc_high", "revision", "md5_model"),
    ]
    assert len(rows) == 3 * 2 * 3
    for row in rows:
        result = results.runs[row["variant"], int(row["seed"])].results[row["dataset"]]
        assert float(row["acc"]) == result.acc
        assert (float(row["auc"]) if row["auc"] else None) == result.auc
        assert float(row["acc_low"]) < result.acc <= float(row["acc_high"])
        assert (row["acc_high"] == "1.0") == (result.acc == 1)
        assert (row["quadratic_kappa"] == "") == (row["dataset"] != "retinamnist")
        assert (row["source"], row["official"]) == ("phantom", "no")
        assert (row["revision"], row["md5_model"]) == ("abc123", "e" * 32)
        # Nor has a perfect AUC an interval.
        assert (row["auc_low"] == "") == (result.auc in (None, 1))
    assert sum(row["auc"] == "" for row in rows) == 1
