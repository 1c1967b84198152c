import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from mosaic_pipeline.data.augment import STATISTICS, normalise, to_float
from mosaic_pipeline.data.batches import Split
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation import metrics
from mosaic_pipeline.evaluation.brier import brier
from mosaic_pipeline.evaluation.calibration import expected_calibration_error
from mosaic_pipeline.evaluation.contributions import contributions
from mosaic_pipeline.evaluation.outputs import write_outputs
from mosaic_pipeline.evaluation.predict import predict
from mosaic_pipeline.evaluation.samples import as_picture, choose_hardest, choose_samples
from mosaic_pipeline.evaluation.temperature import at_temperature, choose_temperature
from mosaic_pipeline.evaluation.test_set import run_test

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["retinamnist", "chestmnist", "nodulemnist3d"])
def test_scores_are_probabilities_in_stored_order_of_the_plain_images(make_model, make_config, cached, name):
    dataset, model = MEDMNIST[name], make_model(model__normalisation="imagenet")
    split, size = Split(cached / name, "test", CPU), 32 if MEDMNIST[name].dimension == 2 else 16
    scores = predict(model, split, dataset, config=make_config(), batch_size=3)
    images = to_float(torch.from_numpy(np.array(split.images)), dataset.dimension, size)
    images = normalise(images, STATISTICS["imagenet"])
    with torch.no_grad():
        logits = model(images, name)[1]
    expected = logits.sigmoid() if dataset.multi_label else logits.softmax(dim=1)
    np.testing.assert_allclose(scores, expected.numpy(), atol=1e-6)
    assert scores.dtype == np.float32
    assert model.training


@pytest.fixture
def tested(make_model, make_config, cached):
    names = ("retinamnist", "nodulemnist3d", "chestmnist")
    model = make_model()
    return [
        run_test(
            model,
            Split(cached / name, "test", CPU),
            MEDMNIST[name],
            validation=Split(cached / name, "val", CPU),
            config=make_config(),
            batch_size=4,
        )
        for name in names
    ]


def test_saved_scores_and_labels_give_the_recorded_metrics_again(tested, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    head = {"variant": "mosaic", "seed": 42, "specialist": "A", "deployed": "teacher", "md5": {}}
    write_outputs(head, {result.dataset.name: result.record() for result in tested}, tested)
    written = json.loads((tmp_path / "evaluation/mosaic/42/A.json").read_text())
    with np.load(tmp_path / "evaluation/mosaic/42/A.npz", allow_pickle=False) as arrays:
        for name, record in written["datasets"].items():
            scores, labels = arrays[f"{name}/scores"], arrays[f"{name}/labels"]
            assert (scores.dtype, labels.dtype) == (np.float32, np.int64)
            assert record["n"] == len(labels) == 10
            assert record["acc"] == metrics.accuracy(MEDMNIST[name], labels, scores)
            assert record["auc"] == metrics.auc(MEDMNIST[name], labels, scores)
            assert record["loss"] == metrics.negative_log_likelihood(MEDMNIST[name], labels, scores)
            assert np.array(record["confusion"]).sum() == labels.size
    roc = pd.read_csv(tmp_path / "evaluation/mosaic/42/A.roc.csv")
    assert roc.groupby("dataset").size().to_dict() == dict.fromkeys(written["datasets"], 101)
    predictions = pd.read_csv(tmp_path / "evaluation/mosaic/42/A.predictions.csv")
    hits = (predictions["actual"] == predictions["predicted"]).groupby(predictions["dataset"]).mean()
    assert hits["retinamnist"] == pytest.approx(written["datasets"]["retinamnist"]["acc"])


COMMON = {
    *("n", "acc", "auc", "loss", "balanced_acc", "macro_f1", "ece", "brier", "confusion", "reliability"),
    *("temperature", "loss_scaled", "ece_scaled", "brier_scaled"),
}


def test_the_record_holds_the_metrics_of_the_datasets_task(tested):
    extra = {result.dataset.name: set(result.record()) - COMMON for result in tested}
    assert extra == {
        "retinamnist": {"quadratic_kappa", "mae", "acc_within_one"},
        "nodulemnist3d": set(),
        "chestmnist": {"map"},
    }
    assert all(set(result.record()) >= COMMON for result in tested)


def test_saved_contributions_are_those_of_the_saved_scores(tested):
    for result in tested:
        arrays, name = result.arrays(), result.dataset.name
        saved = arrays[f"{name}/contributions"]
        assert (saved.shape, saved.dtype) == ((len(result.labels), 2), np.float32)
        expected = contributions(result.dataset, arrays[f"{name}/labels"], arrays[f"{name}/scores"])
        np.testing.assert_array_equal(saved, expected.astype(np.float32))


def test_the_hardest_cases_come_with_their_own_pictures(tested, cached):
    for result in tested:
        arrays, dataset = result.arrays(), result.dataset
        index, images = (arrays[f"{dataset.name}/hardest_{what}"] for what in ("index", "images"))
        assert (index.dtype, images.dtype) == (np.int64, np.uint8)
        losses = metrics.case_losses(dataset, result.labels, result.scores)
        assert sorted(losses, reverse=True)[:4] == losses[index].tolist()
        stored = np.load(cached / dataset.name / "test_images.npy")
        np.testing.assert_array_equal(images, [as_picture(stored[row], dataset) for row in index])


def test_two_evaluations_write_the_same_bytes(tested, tmp_path, monkeypatch):
    head = {"variant": "mosaic", "seed": 42, "specialist": "A"}
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        monkeypatch.chdir(folder)
        write_outputs(head, {result.dataset.name: result.record() for result in tested}, tested)
        written.append({path.name: path.read_bytes() for path in (folder / "evaluation/mosaic/42").iterdir()})
    assert written[0] == written[1]
    assert len(written[0]) == 4


def test_a_model_whose_scores_are_nan_leaves_a_json_with_nulls(tested):
    for result in tested:
        result.scores[0] = np.nan
        record = json.loads(json.dumps(result.record(), allow_nan=False))
        assert record["auc"] is record["ece"] is record["loss"] is None
        assert sum(n for n, _, _ in record["reliability"]) == result.labels[1:].size


def test_a_specialist_without_datasets_leaves_readable_empty_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_outputs({"variant": "mosaic", "seed": 42, "specialist": "B"}, {}, [])
    assert json.loads((tmp_path / "evaluation/mosaic/42/B.json").read_text())["datasets"] == {}
    assert list(pd.read_csv(tmp_path / "evaluation/mosaic/42/B.roc.csv").columns) == ["dataset", "fpr", "tpr"]


def test_an_undefined_metric_is_null_in_the_record(tested):
    (result,) = [result for result in tested if result.dataset.name == "nodulemnist3d"]
    result.labels[:] = 0
    assert result.record()["auc"] is None
    assert result.record()["acc"] is not None


def test_samples_show_each_class_once_before_any_class_twice():
    labels = np.array([0, 0, 0, 1, 0, 2, 2])[:, None]
    assert choose_samples(labels).tolist() == [0, 1, 3, 5]


def test_the_hardest_come_first_and_equal_ones_in_stored_order():
    assert choose_hardest(np.array([0.5, 2.0, 0.1, 2.0, 0.5, 0.5])).tolist() == [1, 3, 0, 4]
    assert choose_hardest(np.array([0.5, np.nan, 3.0])).tolist() == [1, 2, 0]


def test_a_volume_is_shown_as_its_three_middle_slices():
    volume = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    picture = as_picture(volume, MEDMNIST["nodulemnist3d"])
    assert picture.shape == (4, 12)
    assert (picture[:, :4] == volume[2]).all()
    assert (picture[:, 4:8] == volume[:, 2]).all()
    assert (picture[:, 8:] == volume[:, :, 2]).all()


@pytest.mark.parametrize("name", ["retinamnist", "chestmnist", "nodulemnist3d"])
def test_the_temperature_is_that_of_validation_and_scales_nothing_that_is_saved(make_model, make_config, cached, name):
    dataset, model, config = MEDMNIST[name], make_model(), make_config()
    splits = {split: Split(cached / name, split, CPU) for split in ("val", "test")}
    arguments = {"validation": splits["val"], "config": config, "batch_size": 4}
    plain = run_test(model, splits["test"], dataset, **arguments)
    splits["test"].labels = splits["test"].labels.flip(0)  # other answers, the same images
    changed = run_test(model, splits["test"], dataset, **arguments)
    assert changed.record()["brier"] != plain.record()["brier"]
    assert changed.temperature == plain.temperature
    validated = predict(model, splits["val"], dataset, config=config, batch_size=4)
    assert plain.temperature == choose_temperature(dataset, splits["val"].labels.numpy(), validated)

    record = plain.record()
    scaled = at_temperature(dataset, plain.scores, plain.temperature)
    for key, metric in {
        "loss": metrics.negative_log_likelihood,
        "ece": expected_calibration_error,
        "brier": brier,
    }.items():
        assert record[f"{key}_scaled"] == metric(dataset, plain.labels, scaled)
        assert record[key] == metric(dataset, plain.labels, plain.scores) != record[f"{key}_scaled"]
    np.testing.assert_array_equal(
        plain.scores, predict(model, Split(cached / name, "test", CPU), dataset, config=config, batch_size=4)
    )


def test_nan_in_validation_leaves_the_scaled_metrics_undefined(tested):
    record = replace(tested[0], temperature=float("nan")).record()
    assert json.loads(json.dumps(record, allow_nan=False))["temperature"] is None
    assert record["ece_scaled"] is record["loss_scaled"] is record["brier_scaled"] is None
    assert record["ece"] is not None
