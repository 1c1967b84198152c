import math

import pytest
import torch

from mosaic_pipeline.analysis import similarity as module
from mosaic_pipeline.analysis.observe import observe
from mosaic_pipeline.analysis.similarity import contribution, similarity


@pytest.mark.parametrize("kind", ["bottleneck", "lora"])
@pytest.mark.parametrize("routing", ["specialists", "per_dataset", "gated"])
def test_a_matrix_of_ones_on_the_diagonal_for_every_layer(make_subject, kind, routing):
    result = similarity(make_subject(adapter__kind=kind, adapter__routing=routing))
    layers, count = torch.tensor(result["layers"]), len(result["specialists"])
    assert layers.shape == (2, count, count)
    torch.testing.assert_close(layers.diagonal(dim1=1, dim2=2), torch.ones(2, count))
    assert torch.equal(layers, layers.mT)
    assert (layers.abs() <= 1 + 1e-6).all()


@pytest.mark.parametrize("kind", ["bottleneck", "lora"])
def test_equal_specialists_are_alike_in_the_layers_in_which_they_are_equal(make_subject, kind):
    subject = make_subject(adapter__kind=kind, adapter__bottleneck_a=4)
    a, b = (subject.model.specialists[name] for name in ("A", "B"))
    b[1].load_state_dict(a[1].state_dict())
    first, second = similarity(subject)["layers"]
    assert second[0][1] == pytest.approx(1)
    assert first[0][1] < 0.99


def test_a_lora_adds_to_queries_and_to_values(make_subject):
    subject = make_subject(adapter__kind="lora")
    adapter, tokens = subject.model.specialists["A"][0], torch.randn(7, 24)
    query, value = adapter.query_value(tokens[None])
    assert not torch.equal(query, value)
    assert torch.equal(contribution(adapter, tokens), torch.cat([query[0], value[0]], dim=1))


def test_a_specialist_that_adds_the_same_to_every_token_is_like_none(make_subject):
    subject = make_subject()
    subject.model.specialists["A"][0].up.weight.data.zero_()
    first, second = similarity(subject)["layers"]
    assert all(math.isnan(value) for value in first[0])
    assert not any(math.isnan(value) for value in second[0])


@pytest.mark.parametrize("kind", ["bottleneck", "lora"])
def test_all_specialists_get_the_tokens_that_the_layers_adapters_see(make_subject, monkeypatch, kind):
    subject, given = make_subject(adapter__kind=kind), []
    monkeypatch.setattr(module, "contribution", lambda adapter, x: given.append(x) or contribution(adapter, x))
    similarity(subject)
    seen = [seen for name in subject.cases for seen in observe(subject, name)]
    for layer, taken in enumerate((given[:3], given[3:])):
        assert all(torch.equal(tokens, taken[0]) for tokens in taken)
        inputs = [part.u if kind == "lora" else part.h for part in seen if part.layer == layer]
        known = {token.numpy().tobytes() for part in inputs for token in part.flatten(0, 1)}
        classes = {token.numpy().tobytes() for part in inputs for token in part[:, 0]}
        rows = [token.numpy().tobytes() for token in taken[0]]
        assert known.issuperset(rows)
        assert classes.issubset(rows)
        each = 1 if kind == "bottleneck" and layer == 1 else 1 + module.PATCHES
        cases = [rows[first : first + each] for first in range(0, len(rows), each)]
        assert len(cases) == 4 * 10
        assert all(case[0] in classes and len(set(case)) == each for case in cases)
