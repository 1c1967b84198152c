import math

import pytest

from mosaic_pipeline.analysis.counterfactual import counterfactual, rerouted
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation import metrics
from mosaic_pipeline.evaluation.predict import predict

KINDS = ("bottleneck", "lora", "prompt")


def scores(subject, model, name):
    return predict(model, subject.cases[name], MEDMNIST[name], config=subject.config, batch_size=4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_datasets_own_specialist_scores_what_the_model_does(make_subject, kind):
    subject = make_subject(adapter__kind=kind)
    result = counterfactual(subject)
    assert result["specialists"] == ["A", "B", "C"]
    assert result["own"] == {"retinamnist": "A", "breastmnist": "B", "chestmnist": "B", "nodulemnist3d": "C"}
    for name, own in result["own"].items():
        column = result["specialists"].index(own)
        labels, predicted = subject.cases[name].labels.numpy(), scores(subject, subject.model, name)
        assert result["acc"][name][column] == metrics.accuracy(MEDMNIST[name], labels, predicted)
        assert result["auc"][name][column] == pytest.approx(metrics.auc(MEDMNIST[name], labels, predicted), nan_ok=True)
        for right, acc in zip(result["right"][name], result["acc"][name], strict=True):
            assert len(right) == len(labels)
            assert sum(right) / labels.size == pytest.approx(acc)


@pytest.mark.parametrize("kind", KINDS)
def test_two_specialists_exchanged_exchange_their_columns(make_subject, kind):
    # Equal widths, so that the modules can change places.
    subject = make_subject(adapter__kind=kind, adapter__bottleneck_a=4, adapter__bottleneck_c=4)
    before = counterfactual(subject)
    specialists = subject.model.specialists
    specialists["A"], specialists["C"] = specialists["C"], specialists["A"]
    after = counterfactual(subject)
    assert {name: row[::-1] for name, row in before["auc"].items()} == after["auc"]
    assert any(row[0] != row[2] for row in before["auc"].values())


@pytest.mark.parametrize("kind", KINDS)
def test_another_specialist_means_other_scores_under_the_same_head(make_subject, kind):
    subject = make_subject(adapter__kind=kind)
    view = rerouted(subject.model, "nodulemnist3d", "A")
    assert (scores(subject, view, "nodulemnist3d") != scores(subject, subject.model, "nodulemnist3d")).any()
    assert (scores(subject, view, "breastmnist") == scores(subject, subject.model, "breastmnist")).all()


def test_rerouting_leaves_the_model_as_it_was(make_subject):
    subject = make_subject()
    routing, training = subject.model.routing, subject.model.training
    expected = {name: scores(subject, subject.model, name) for name in subject.cases}
    counterfactual(subject)
    assert subject.model.routing is routing
    assert subject.model.routing.datasets["nodulemnist3d"] == "C"
    assert subject.model.training == training
    for name, before in expected.items():
        assert (scores(subject, subject.model, name) == before).all()


def test_an_auc_without_a_class_is_undefined_and_its_accuracy_is_not(make_subject):
    subject = make_subject(("breastmnist", "retinamnist"))
    subject.cases["breastmnist"].labels.zero_()
    result = counterfactual(subject)
    assert all(math.isnan(value) for value in result["auc"]["breastmnist"])
    assert not any(math.isnan(value) for value in result["auc"]["retinamnist"] + result["acc"]["breastmnist"])
