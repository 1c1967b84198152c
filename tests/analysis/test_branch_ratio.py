import pytest
import torch
from timm.layers import LayerScale

from mosaic_pipeline.analysis.branch_ratio import branch_ratio


@pytest.mark.parametrize("routing", ["specialists", "shared", "gated"])
def test_an_untrained_branch_is_nothing_beside_the_mlp(make_subject, routing):
    ratios = branch_ratio(make_subject(trained=False, adapter__routing=routing))
    assert list(ratios) == ["retinamnist", "breastmnist", "chestmnist", "nodulemnist3d"]
    assert all(by_layer == [0.0, 0.0] for by_layer in ratios.values())


def test_the_ratio_of_the_last_layer_doubles_with_up(make_subject):
    subject = make_subject()
    before = branch_ratio(subject)
    up = subject.model.specialists["A"][-1].up
    up.weight.data.mul_(2)
    up.bias.data.mul_(2)
    after = branch_ratio(subject)
    assert after["retinamnist"] == pytest.approx([before["retinamnist"][0], 2 * before["retinamnist"][1]])
    assert after["breastmnist"] == before["breastmnist"]


def test_a_branch_that_copies_the_mlp_has_the_ratio_of_its_scale(make_subject):
    subject = make_subject(("retinamnist", "nodulemnist3d"), batch_size=3)
    for specialist in subject.model.specialists.values():
        for block, adapter in zip(subject.model.backbone.blocks, specialist, strict=True):
            adapter.beside_mlp = lambda h, mlp=block.mlp: 0.25 * mlp(h)
    for ratios in branch_ratio(subject).values():
        assert ratios == pytest.approx([0.25, 0.25])


def test_tokens_count_alike_whatever_the_batches(make_subject):
    whole, parts = (branch_ratio(make_subject(batch_size=size)) for size in (10, 4))
    for name, expected in whole.items():
        assert parts[name] == pytest.approx(expected, rel=1e-5)
        assert all(torch.tensor(expected) > 0)


def test_a_layer_scale_is_part_of_what_the_mlp_adds(make_subject):
    subject = make_subject(("retinamnist",))
    before = branch_ratio(subject)["retinamnist"]
    last = subject.model.backbone.blocks[-1]
    last.ls2 = LayerScale(24, init_values=0.5)
    assert branch_ratio(subject)["retinamnist"] == pytest.approx([before[0], 2 * before[1]])
