import numpy as np
import pytest
from scipy.stats import rankdata

from mosaic_pipeline.evaluation.ranks import midranks


@pytest.mark.parametrize("distinct", [1, 2, 7, 10**6])
def test_ranks_are_those_of_scipy_with_every_kind_of_tie(distinct):
    values = np.random.default_rng(distinct).integers(0, distinct, 60) / 7
    assert midranks(values).tolist() == rankdata(values).tolist()
    assert midranks(values[:0]).tolist() == []


def test_what_cannot_be_ranked_ranks_nothing():
    assert np.isnan(midranks(np.array([1.0, np.nan, 3.0]))).all()
