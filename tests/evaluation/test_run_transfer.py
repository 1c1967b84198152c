"""Which split of a further dataset does what: a head is fitted to one, chosen on another and tested on the third."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mosaic_pipeline.data.batches import Split
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation import metrics
from mosaic_pipeline.evaluation.features import Way, along, features
from mosaic_pipeline.evaluation.head import Labelled, fit_head
from mosaic_pipeline.evaluation.transfer import constant_accuracy, run_transfer

NAMES = ("retinamnist", "breastmnist")
GRADES = replace(MEDMNIST["retinamnist"], name="grades")
COUNTS = {"train": 40, "val": 30, "test": 20}


@pytest.fixture
def transferred(tmp_path, write_cached, make_model, make_config):
    """What a way through a trained model makes of a further dataset, and the same features and labels by split."""
    write_cached(tmp_path / "retinamnist", "retinamnist", COUNTS)
    splits = {split: Split(tmp_path / "retinamnist", split, torch.device("cpu")) for split in COUNTS}
    overrides = {"train__grade_tolerance": 1}
    model, config = make_model(NAMES, **overrides), make_config(NAMES, **overrides)
    assert config.train.grade_tolerance == 1
    way, how = Way("B"), {"config": config, "batch_size": 8}
    found = run_transfer(model, splits, GRADES, way, monitored=("acc", "auc"), **how)
    view = along(model, GRADES, way)
    seen = {
        split: Labelled(features(view, opened, GRADES, **how), opened.labels.numpy())
        for split, opened in splits.items()
    }
    return found, seen


def test_the_head_is_fitted_to_training_chosen_by_validation_and_tested_on_the_test_split(transferred):
    found, seen = transferred
    expected = fit_head(GRADES, seen["train"], seen["val"], ("acc", "auc"))
    assert (found.head.penalty, found.head.score) == (expected.penalty, expected.score)
    assert np.array_equal(found.scores, expected.probabilities(seen["test"].features))
    assert np.array_equal(found.labels, seen["test"].labels)
    # No other roles of the splits come to the same.
    others = [(fitted, chosen) for fitted in COUNTS for chosen in COUNTS if (fitted, chosen) != ("train", "val")]
    heads = {roles: fit_head(GRADES, *(seen[split] for split in roles), ("acc", "auc")) for roles in others}
    assert all(head.score != found.head.score for head in heads.values())


def test_the_record_holds_validation_and_test_apart_and_exact_grades(transferred):
    found, seen = transferred
    record = found.record()
    for prefix, split in (("val_", "val"), ("", "test")):
        scores = found.head.probabilities(seen[split].features)
        for metric, of in (("acc", metrics.accuracy), ("auc", metrics.auc)):
            assert record[f"{prefix}{metric}"] == pytest.approx(of(GRADES, seen[split].labels, scores))
    scores = found.head.probabilities(seen["val"].features)
    assert metrics.accuracy(GRADES, seen["val"].labels, scores, 1) > record["val_acc"], "a tolerance would not show"
    assert (record["specialist"], record["tokenizer"], record["gate"]) == ("B", None, False)
    assert found.contributions().mean(axis=0) == pytest.approx([record["acc"], record["auc"]], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("bloodmnist", [[2], [2], [0], [1]], 0.5),
        ("chestmnist", [[1] * 14, [1] * 7 + [0] * 7, [1] * 7 + [0] * 7, [1] * 14], 0.75),
    ],
)
def test_the_best_constant_answer(name, labels, expected):
    assert constant_accuracy(MEDMNIST[name], np.array(labels)) == expected
