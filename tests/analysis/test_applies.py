"""Which analysis applies to which variant: the others have no result."""

import pytest

from mosaic_pipeline.analysis.branch_ratio import branch_ratio
from mosaic_pipeline.analysis.counterfactual import counterfactual
from mosaic_pipeline.analysis.gate_weights import gate_weights
from mosaic_pipeline.analysis.similarity import similarity

ANALYSES = {
    "counterfactual": counterfactual,
    "similarity": similarity,
    "branch_ratio": branch_ratio,
    "gate": gate_weights,
}
SEVERAL = {"counterfactual", "similarity"}
BY_ROUTING = {
    "specialists": SEVERAL,
    "modality": SEVERAL,
    "per_dataset": SEVERAL,
    "random": SEVERAL,
    "shared": set(),
    "gated": {"similarity", "gate"},
}
# What a kind has beyond that, and what it lacks of that.
BY_KIND = {"bottleneck": ({"branch_ratio"}, set()), "lora": (set(), set()), "prompt": (set(), {"similarity"})}


@pytest.mark.parametrize("kind", BY_KIND)
@pytest.mark.parametrize("routing", BY_ROUTING)
def test_each_kind_and_routing_has_the_analyses_that_make_sense_of_it(make_subject, kind, routing):
    subject = make_subject(limit=3, adapter__kind=kind, adapter__routing=routing)
    more, less = BY_KIND[kind]
    found = {name for name, analyse in ANALYSES.items() if analyse(subject) is not None}
    assert found == (BY_ROUTING[routing] | more) - less


@pytest.mark.parametrize(("kind", "routing"), [("bottleneck", "gated"), ("lora", "specialists"), ("prompt", "shared")])
def test_slices_of_volumes_have_the_analyses_of_their_kind_and_routing(make_subject, kind, routing):
    overrides = {"adapter__kind": kind, "adapter__routing": routing, "tokenizer_3d__kind": "slices"}
    subject = make_subject(("nodulemnist3d", "breastmnist"), limit=3, **overrides)
    more, less = BY_KIND[kind]
    found = {name for name, analyse in ANALYSES.items() if analyse(subject) is not None}
    assert found == (BY_ROUTING[routing] | more) - less


@pytest.mark.parametrize("routing", BY_ROUTING)
def test_without_specialists_there_is_nothing_to_analyse(make_subject, routing):
    subject = make_subject(limit=3, adapter__kind="none", adapter__routing=routing)
    assert not any(analyse(subject) for analyse in ANALYSES.values())


def test_one_group_alone_has_no_specialist_to_go_to_instead(make_subject):
    subject = make_subject(("breastmnist", "chestmnist"), limit=3)
    assert counterfactual(subject) is None
