import math

from mosaic_pipeline.training.stopping import EarlyStopping


def test_only_gains_beyond_min_delta_count_and_patience_restarts_with_each():
    stopping = EarlyStopping(patience=2, min_delta=0.1)
    seen = [(stopping.improved(score), stopping.exhausted) for score in (0.5, 0.59, 0.65, 0.70, 0.74)]
    assert seen == [(True, False), (False, False), (True, False), (False, False), (False, True)]
    assert stopping.best == 0.65


def test_patience_is_not_exhausted_one_round_before():
    stopping = EarlyStopping(patience=2, min_delta=0.0)
    stopping.improved(0.5)
    stopping.improved(0.5)
    assert not stopping.exhausted


def test_nan_is_no_improvement():
    stopping = EarlyStopping(patience=1, min_delta=0.0)
    assert not stopping.improved(math.nan)
