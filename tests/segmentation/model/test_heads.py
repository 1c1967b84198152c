import torch
from nets import labelled_set, make_config

from mosaic_pipeline.segmentation.model.build import build_m4oe
from mosaic_pipeline.segmentation.model.heads import UnionHead, marginal

SETS = {
    "ct": labelled_set("ct", ("liver", "spleen")),
    "ce": labelled_set("ce", ("liver", "tumour")),
    "mr": labelled_set("mr", ("spleen", "bladder", "liver")),
}


def test_background_of_a_dataset_is_the_sum_of_all_that_it_does_not_annotate():
    # Background, liver, spleen, tumour with probabilities in sixteenths; a set that annotates the spleen alone.
    logits = torch.tensor([8, 4, 3, 1]).div(16).log() + 5
    probabilities = marginal(logits, own=torch.tensor([2]), rest=torch.tensor([0, 1, 3])).softmax(dim=-1)
    torch.testing.assert_close(probabilities, torch.tensor([13 / 16, 3 / 16]))


def test_a_union_head_has_every_organ_once_and_gives_each_dataset_its_classes_in_their_order():
    head = UnionHead(8, SETS)
    assert head.classes == ("background", "liver", "spleen", "tumour", "bladder")
    features = torch.randn(2, 3, 3, 8)
    whole = head.union(features).softmax(dim=-1)
    probabilities = head(features, "mr").softmax(dim=1)
    assert probabilities.shape == (2, 4, 3, 3)
    # Spleen, bladder, liver; the background is that and the tumour.
    expected = torch.stack([whole[..., 0] + whole[..., 3], whole[..., 2], whole[..., 4], whole[..., 1]], dim=1)
    torch.testing.assert_close(probabilities, expected)


def test_an_organ_that_is_not_annotated_is_not_learned_to_be_background():
    model = build_m4oe(make_config(SETS, experts={"head": "union"}), seed=0)
    logits = model(torch.randn(1, 16, 16), "ct")
    torch.nn.functional.cross_entropy(logits, torch.zeros(1, 16, 16, dtype=torch.long)).backward()
    gradient = model.heads.union.weight.grad
    # All is said to be background: what is annotated goes down, and the rest together goes up.
    rest = torch.tensor([model.heads.classes.index(organ) for organ in ("background", "tumour", "bladder")])
    own = torch.tensor([model.heads.classes.index(organ) for organ in ("liver", "spleen")])
    torch.testing.assert_close(gradient[rest].sum(dim=0), -gradient[own].sum(dim=0))
    assert gradient[rest].abs().max() > 0
