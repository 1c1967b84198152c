import pytest
import torch
from nets import make_config

from mosaic_pipeline.segmentation.model.build import build_m4oe
from mosaic_pipeline.segmentation.model.pretrain import draw_masks, reconstruction_loss


@pytest.mark.parametrize(("ratio", "hidden"), [(0.75, 7), (0.5, 4), (0.0, 1), (0.99, 8)])
def test_every_mask_hides_the_same_number_of_cells_and_never_all_or_none(ratio, hidden):
    masks = draw_masks(20, 3, ratio, torch.Generator().manual_seed(0))
    assert masks.shape == (20, 3, 3)
    assert masks.flatten(1).sum(dim=1).tolist() == [hidden] * 20
    assert masks.any(dim=0).all()


def test_the_loss_is_of_hidden_pixels_alone():
    images, predicted = torch.zeros(1, 4, 4), torch.full((1, 4, 4), 9.0)
    masked = torch.tensor([[[True, False], [False, False]]])
    predicted[0, :2, :2] = torch.tensor([[1.0, -1.0], [2.0, 0.0]])
    assert reconstruction_loss(predicted, images, masked) == 1


def test_a_reconstruction_does_not_see_what_is_hidden_and_depends_on_what_is_not():
    config = make_config(size=32, depths=(1, 1, 1), heads=(1, 1, 1), train={"pretrain_rounds": 1, "mask_ratio": 0.5})
    model = build_m4oe(config, seed=0)
    model.enter("pretrain")
    images = torch.randn(1, 32, 32)
    masked = torch.tensor([[[True, False], [False, False]]])
    first = model(images, "flare22", masked=masked)
    assert first.shape == (1, 32, 32)
    hidden = images.clone()
    hidden[0, :16, :16] = 7
    assert torch.equal(model(hidden, "flare22", masked=masked), first)
    seen = images.clone()
    seen[0, 16:, :16] = 7
    assert not torch.equal(model(seen, "flare22", masked=masked), first)


def test_every_datasets_slices_go_through_its_own_expert():
    model = build_m4oe(make_config(train={"pretrain_rounds": 1, "mask_ratio": 0.5}), seed=0)
    model.enter("pretrain")
    images, masked = torch.randn(1, 16, 16), torch.tensor([[[True, False], [False, True]]])
    made = [model(images, dataset, masked=masked) for dataset in ("flare22", "atlas23")]
    assert not torch.equal(*made)
