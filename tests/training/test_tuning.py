import json

import pytest

from mosaic_pipeline.errors import Diverged, PipelineError
from mosaic_pipeline.training.tuning import DIVERGED, choose, trial_of


def trials(*scores):
    return [DIVERGED if score is None else DIVERGED | {"score": score} for score in scores]


@pytest.mark.parametrize(("scores", "chosen"), [((0.4, 0.6, 0.5), 1), ((0.5, 0.6, 0.6), 1), ((None, 0.0, None), 1)])
def test_the_highest_score_is_chosen_and_the_first_on_a_tie(scores, chosen):
    assert choose("mosaic", trials(*scores)) == chosen


def test_if_all_diverged_there_is_nothing_to_choose():
    with pytest.raises(PipelineError, match=r"^mosaic: every candidate diverged; try [^\n]*train\.lr[^\n]*$"):
        choose("mosaic", trials(None, None))


def test_a_trial_is_the_best_round_of_the_model_that_would_be_deployed(make_trainer):
    trainer = make_trainer()
    trainer.run()
    # Another round than the last, and the model with the lower means of both measures.
    trainer.best.round, trainer.best.deployed, trainer.best.score = 1, "student", 0.25
    trainer.history[0] |= {"student_acc": 0.125, "student_auc": float("nan")}
    assert trial_of(trainer) == {"score": 0.25, "acc": 0.125, "auc": None, "best_round": 1}
    json.dumps(trial_of(trainer), allow_nan=False)


def test_a_training_that_does_not_stay_finite_says_so_by_its_error(make_trainer):
    with pytest.raises(Diverged, match="loss"):
        make_trainer(train__lr=1e30).run()
