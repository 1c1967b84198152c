"""The test on corrupted images: the deployed model's own scores, on images that do not depend on how they are read."""

import numpy as np
import pytest
import torch

from mosaic_pipeline.data.batches import consecutive, open_splits
from mosaic_pipeline.data.corruptions import KINDS, STRENGTHS, corrupt
from mosaic_pipeline.evaluation import metrics
from mosaic_pipeline.evaluation.predict import predict
from mosaic_pipeline.evaluation.robustness import Corrupted, run_corrupted

CPU = torch.device("cpu")
NAMES = ("retinamnist", "breastmnist", "chestmnist", "nodulemnist3d")


@pytest.fixture
def opened(cached, make_config):
    """Test splits by name, and the configuration of their model."""
    config = make_config(NAMES)
    (splits,) = open_splits(cached, config.datasets, ("test",), CPU)
    return splits, config


@pytest.mark.parametrize("name", NAMES)
def test_images_are_those_of_dataset_and_row_however_they_are_batched(opened, name):
    splits, config = opened
    dataset, split = config.datasets[name], splits[name]
    corrupted = Corrupted(split, dataset, "noise", 2)
    whole, parts = (
        torch.cat([batch.images for batch in corrupted.batches(consecutive(slice(0, len(split)), size))]).numpy()
        for size in (len(split), 3)
    )
    assert (whole == parts).all()
    for row in (0, 7):
        assert (whole[row] == corrupt(split.images[row], dataset.dimension, "noise", 2, f"{name}/{row}")).all()


def test_labels_stay_with_their_images(opened):
    splits, config = opened
    corrupted = Corrupted(splits["retinamnist"], config.datasets["retinamnist"], "blur", 1)
    labels = torch.cat([batch.labels for batch in corrupted.batches(consecutive(slice(0, 10), 4))])
    assert (labels == splits["retinamnist"].labels).all()
    assert (corrupted.labels == splits["retinamnist"].labels).all()
    assert len(corrupted) == 10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_each_strength_is_scored_as_the_clean_images_are(opened, make_model, name, kind):
    splits, config = opened
    dataset, split, model = config.datasets[name], splits[name], make_model(NAMES)
    found = run_corrupted(model, split, dataset, kind, config=config, batch_size=4)
    labels = split.labels.numpy()
    assert found.contributions.shape == (STRENGTHS, len(labels), 2)
    for strength in (1, STRENGTHS):
        scores = predict(model, Corrupted(split, dataset, kind, strength), dataset, config=config, batch_size=10)
        assert found.acc[strength - 1] == pytest.approx(metrics.accuracy(dataset, labels, scores))
        assert found.auc[strength - 1] == pytest.approx(metrics.auc(dataset, labels, scores))
    for metric, column in (("acc", 0), ("auc", 1)):
        assert found.contributions[..., column].mean(axis=1) == pytest.approx(getattr(found, metric), abs=1e-5)
    assert found.record() == {"n": len(labels), "acc": found.acc, "auc": found.auc}


def test_an_undefined_metric_is_none(opened, make_model):
    splits, config = opened
    split = splits["breastmnist"]
    split.labels = torch.zeros_like(split.labels)
    found = run_corrupted(
        make_model(NAMES), split, config.datasets["breastmnist"], "contrast", config=config, batch_size=10
    )
    assert np.isnan(found.auc).all()
    assert found.record()["auc"] == [None] * STRENGTHS
    assert np.isnan(found.contributions[..., 1]).all()
