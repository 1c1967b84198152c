import numpy as np
import pytest
from scipy.special import expit, softmax

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation.calibration import expected_calibration_error
from mosaic_pipeline.evaluation.metrics import negative_log_likelihood, predictions
from mosaic_pipeline.evaluation.temperature import BOUNDS, at_temperature, choose_temperature

TASKS = ("bloodmnist", "breastmnist", "chestmnist")


def drawn(name: str, cases: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits [N, C], and labels [N, L] drawn from the probabilities that they give."""
    dataset, generator = MEDMNIST[name], np.random.default_rng(seed)
    logits = 1.5 * generator.standard_normal((cases, dataset.num_classes))
    if dataset.multi_label:
        return logits, (generator.random(logits.shape) < expit(logits)).astype(np.int64)
    # The largest of logits plus Gumbel noise is a draw from their softmax.
    return logits, (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)[:, None]


def scores_of(name: str, logits: np.ndarray) -> np.ndarray:
    p = expit(logits) if MEDMNIST[name].multi_label else softmax(logits, axis=1)
    return p.astype(np.float32)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_the_factor_that_made_logits_too_sure_is_found(name, factor):
    logits, labels = drawn(name)
    scores = scores_of(name, factor * logits)
    temperature = choose_temperature(MEDMNIST[name], labels, scores)
    assert temperature == pytest.approx(factor, rel=0.1)
    back = at_temperature(MEDMNIST[name], scores, factor)
    np.testing.assert_allclose(back, scores_of(name, logits), atol=0.01)  # SMALLEST cuts what is below it
    arguments = (MEDMNIST[name], labels)
    assert expected_calibration_error(*arguments, at_temperature(MEDMNIST[name], scores, temperature)) < 0.02
    assert expected_calibration_error(*arguments, scores) > 0.05


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("seed", range(5))
def test_the_cases_it_is_chosen_on_are_never_less_likely_and_no_answer_changes(name, seed):
    dataset, (logits, labels) = MEDMNIST[name], drawn(name, cases=15, seed=seed)
    scores = scores_of(name, 3 * np.random.default_rng(seed).random() * logits)
    scaled = at_temperature(dataset, scores, choose_temperature(dataset, labels, scores))
    before, after = (negative_log_likelihood(dataset, labels, each) for each in (scores, scaled))
    assert after <= before + 1e-7
    np.testing.assert_array_equal(predictions(dataset, scaled), predictions(dataset, scores))


@pytest.mark.parametrize("name", TASKS)
def test_no_temperature_near_the_chosen_one_is_likelier(name):
    dataset, (logits, labels) = MEDMNIST[name], drawn(name, cases=200)
    scores = scores_of(name, 2 * logits)
    chosen = choose_temperature(dataset, labels, scores)
    losses = [
        negative_log_likelihood(dataset, labels, at_temperature(dataset, scores, factor * chosen))
        for factor in (0.98, 1, 1.02)
    ]
    assert losses[1] == min(losses)


@pytest.mark.parametrize("name", TASKS)
def test_where_the_cases_hold_no_best_temperature_it_is_the_bound_they_point_to(name):
    dataset, (logits, _) = MEDMNIST[name], drawn(name, cases=20)
    scores = scores_of(name, logits)
    right = predictions(dataset, scores)
    assert choose_temperature(dataset, right, scores) == BOUNDS[0]
    wrong = 1 - right if dataset.multi_label else scores.argmin(axis=1)[:, None]
    assert choose_temperature(dataset, wrong, scores) == BOUNDS[1]
    certain = scores_of(name, 1e6 * logits)
    assert np.isin(certain, (0, 1)).all()
    assert choose_temperature(dataset, right, certain) == BOUNDS[0]


def test_one_class_in_validation_is_no_obstacle():
    logits, _ = drawn("bloodmnist", cases=20)
    labels = np.zeros((20, 1), np.int64)
    assert BOUNDS[0] <= choose_temperature(MEDMNIST["bloodmnist"], labels, scores_of("bloodmnist", logits)) <= BOUNDS[1]


@pytest.mark.parametrize("name", TASKS)
def test_a_nan_score_leaves_no_temperature(name):
    logits, labels = drawn(name, cases=5)
    scores = scores_of(name, logits)
    scores[2] = np.nan
    temperature = choose_temperature(MEDMNIST[name], labels, scores)
    assert np.isnan(temperature)
    assert np.isnan(at_temperature(MEDMNIST[name], scores, temperature)).all()
